#!/usr/bin/env bash
# make test: what CI runs. Quick checks come first; the plain tests of everything come last, so that their lines stay in sight.
set -euo pipefail
cd "$(dirname "$0")/.."

# Packages whose goroutines share state: they run again under the race detector, which costs several times the time.
race=(./internal/audit/... ./internal/authn ./internal/cache ./internal/engine ./internal/keyring ./internal/node ./internal/records
  ./internal/dialect/... ./internal/seal ./internal/secret/... ./internal/server ./internal/store/... ./client/...)
# Packages that compute with keys: they run again on Go's certified module, with everything else forbidden.
fips=(./internal/box/... ./internal/kdf ./internal/mode ./internal/provider/... ./internal/seal/... ./internal/wire/...)
# Other modules in this repository.
modules=(tools test/aws test/otlp test/vault test/vectors test/witness bench)

SECONDS=0
step() {
  local began=$SECONDS
  printf '== %s\n' "$1"
  shift
  "$@"
  printf '   %d s\n' $((SECONDS - began))
}

format() {
  local bad
  bad=$(find . -name '*.go' -not -path './.git/*' -not -path '*/node_modules/*' -print0 | xargs -0 gofmt -l)
  if [ -n "$bad" ]; then
    printf 'gofmt would change:\n%s\n' "$bad"
    return 1
  fi
}

build() {
  go build ./...
  go vet ./...
}

others() {
  local m
  for m in "${modules[@]}"; do
    (cd "$m" && go vet ./... && go test ./...)
  done
}

step "dependencies" scripts/deps.sh
step "gofmt" format
step "build and vet" build
step "lint" go tool -modfile=tools/lint/go.mod golangci-lint run ./...
step "other modules" others
step "tests on the FIPS 140-3 module alone" env GOFIPS140=v1.0.0 GODEBUG=fips140=only go test "${fips[@]}"
step "tests under the race detector" env CGO_ENABLED=1 go test -race "${race[@]}"
printf '== tests (%d s so far)\n' "$SECONDS"
go test -timeout 10m ./...
