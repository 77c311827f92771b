#!/usr/bin/env bash
# Fuzzes every target for some time each. Usage: scripts/fuzz.sh [TIME] [PACKAGES]
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-30s}
packages=${2:-./...}
go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' "$packages" | while read -r dir; do
  # A package without targets has no such line, and that is no failure.
  { grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go || true; } | awk '{ print $2 }' | sort | while read -r target; do
    echo "== ${dir#"$PWD"/} $target"
    go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir" </dev/null
  done
done
