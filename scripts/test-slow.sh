#!/usr/bin/env bash
# make test-slow: clients that need a cluster of their own. As root on Debian it installs what is missing; otherwise it says what is.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(radosgw ceph-mon ceph-osd ceph-common awscli)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "missing: ${missing[*]}. As root on Debian: apt-get install ${missing[*]}" >&2
    exit 1
  fi
fi
cd test/vault
go vet -tags slow ./...
go test -count=1 -tags slow -run '^TestRadosGateway$' -v ./...
