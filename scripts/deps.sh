#!/usr/bin/env bash
# Makes sure that what the tests need is there. As root on Debian it installs what is missing; otherwise it says what is.
set -euo pipefail

# What each is for: the race detector is linked by a C compiler, the version comes from git, openssl is the other side of key
# agreements and reads what Keyhold writes, and the rest is used by scripts.
declare -A package=([gcc]=gcc [git]=git [awk]=mawk [cmp]=diffutils [realpath]=coreutils [openssl]=openssl)
missing=()
for command in "${!package[@]}"; do
  command -v "$command" >/dev/null || missing+=("${package[$command]}")
done
# gcc without the C library's headers cannot link either.
if command -v gcc >/dev/null && ! echo '#include <stdlib.h>' | gcc -E - >/dev/null 2>&1; then missing+=(libc6-dev); fi
# A syslog receiver with TLS, for the audit sinks. It need not run as a service.
if ! PATH="$PATH:/usr/sbin" command -v rsyslogd >/dev/null; then missing+=(rsyslog); fi
if ! compgen -G '/usr/lib/*/rsyslog/lmnsd_gtls.so' >/dev/null && ! compgen -G '/usr/lib*/rsyslog/lmnsd_gtls.so' >/dev/null; then missing+=(rsyslog-gnutls); fi
# AWS's command line and its library for Python, as Debian has them, and what runs its clients for JavaScript.
if [ ! -x /usr/bin/aws ]; then missing+=(awscli); fi
if ! /usr/bin/python3 -c 'import boto3' 2>/dev/null; then missing+=(python3-boto3); fi
# A client of Vault for Python.
if ! /usr/bin/python3 -c 'import hvac' 2>/dev/null; then missing+=(python3-hvac); fi
if ! command -v node >/dev/null; then missing+=(nodejs); fi
if ! command -v npm >/dev/null; then missing+=(npm); fi

if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    echo "installing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${missing[@]}" libc6-dev >/dev/null
  else
    echo "missing: ${missing[*]}. As root on Debian: apt-get install ${missing[*]} libc6-dev" >&2
    exit 1
  fi
fi

want=$(awk '$1 == "go" { print $2 }' go.mod)
if ! command -v go >/dev/null; then
  echo "missing: Go $want or newer, from https://go.dev/dl/ (Debian's own may be older)" >&2
  exit 1
fi
have=$(go env GOVERSION)
have=${have#go}
if [ "$(printf '%s\n%s\n' "$want" "${have%% *}" | sort -V | head -n 1)" != "$want" ]; then
  echo "Go $have is too old: want $want or newer, from https://go.dev/dl/" >&2
  exit 1
fi

node=$(node --version)
node=${node#v}
if [ "${node%%.*}" -lt 20 ]; then
  echo "Node.js $node is too old: the clients for JavaScript want 20 or newer, from https://nodejs.org/ (Debian's own may be older)" >&2
  exit 1
fi
# The packages that each package-lock.json pins, by their hashes.
for js in test/aws/js test/vault/js; do
  if ! cmp -s $js/package-lock.json $js/node_modules/.installed; then
    echo "installing: what $js pins"
    (cd $js && npm ci --silent && cp package-lock.json node_modules/.installed)
  fi
done
