#!/usr/bin/env bash
# make demo: one key from its creation to its audit record. Every command is shown before it runs, so that it can be repeated by hand.
# Usage: scripts/demo.sh FILE. BIN names the folder of the programs (default: bin).
set -euo pipefail

file=$(realpath -- "${1:-README.md}" 2>/dev/null) || { echo "demo: there is no file ${1@Q}: FILE=… names another" >&2; exit 1; }
bin=${BIN:-bin}
cd "$(dirname "$0")/.."
file=$(realpath --relative-base="$PWD" -- "$file")
case $file in -*) file=./$file ;; esac
unset "${!KEYHOLD_@}" # what the shell has of another server is not for this one

most=65536 # bytes: the limit of direct encryption
[ -f "$file" ] && [ -r "$file" ] || { echo "demo: ${file@Q} is not a file that can be read: FILE=… names another" >&2; exit 1; }
size=$(stat -c %s -- "$file")
if [ "$size" -gt "$most" ]; then
  echo "demo: ${file@Q} has $size bytes, and direct encryption takes at most $most." >&2
  echo "Choose a smaller file, or encrypt it where it is, with a data key: $bin/keyhold file encrypt --help" >&2
  exit 1
fi

mkdir -p .demo
dir=$(mktemp -d .demo/XXXXXX)
server=
cleanup() {
  status=$?
  trap - EXIT
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    kill "$server"
    wait "$server" || true
  fi
  if [ "$status" -ne 0 ]; then
    echo "demo: FAILED with status $status" >&2
    [ -f "$dir/server.log" ] && { echo "the server said:" >&2; tail -n 20 "$dir/server.log" >&2; }
  fi
  rm -rf "$dir"
  rmdir .demo 2>/dev/null || true
  exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bold= plain=
if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; fi
say() { printf '\n# %s\n' "$*"; }
run() { # the command as a newcomer types it
  printf '%s$ %s%s\n' "$bold" "$1" "$plain"
  eval "$1"
}

say "Start a development server: TLS with an authority of its own, a durable store, the audit trail on."
run "$bin/keyhold server --dev --data $dir/data --listen 127.0.0.1:0 2>$dir/server.log &"
server=$!
for _ in $(seq 300); do
  [ -f "$dir/data/dev.env" ] && break
  kill -0 "$server" 2>/dev/null || { echo "demo: the server did not start" >&2; exit 1; }
  sleep 0.1
done
[ -f "$dir/data/dev.env" ] || { echo "demo: the server was not ready within 30 seconds" >&2; exit 1; }

say "Address, token and authority of the server, for every client."
run "set -a; . $dir/data/dev.env; set +a"

say "Make a key."
run "$bin/keyhold key create demo --algorithm aes-256-gcm"

say "Encrypt a real file with it, decrypt it again, and compare."
run "$bin/keyhold encrypt --key demo ${file@Q} --out $dir/file.enc"
run "$bin/keyhold decrypt $dir/file.enc --out $dir/file.dec"
run "cmp ${file@Q} $dir/file.dec && echo 'the same bytes'"

say "Every operation was recorded before its result left the server."
run "$bin/keyhold audit list --key demo | tee $dir/records"
# The first column of each line below the head is a record's position.
mapfile -t positions < <(awk 'NR > 1 { print $1 }' "$dir/records")
[ "${#positions[@]}" -ge 3 ] || { echo "demo: ${#positions[@]} records of the key, want those of CreateKey, Encrypt and Decrypt at least" >&2; exit 1; }

say "Get a proof of each record, and verify it offline: with the file of the proof and the public key, without the server."
for p in "${positions[@]}"; do
  run "$bin/keyhold audit prove $p --out $dir/$p.proof"
  run "$bin/keyhold-verify --key $dir/data/audit.pub proof $dir/$p.proof"
done

say "Keep a checkpoint as an anchor, copy the whole log away, and verify the copy."
run "$bin/keyhold audit checkpoint --out $dir/anchor"
run "cp -r $dir/data/audit $dir/copy"
run "$bin/keyhold-verify --key $dir/data/audit.pub --anchor $dir/anchor $dir/copy"

say "Stop the server."
run "kill $server"
wait "$server" || { status=$?; echo "demo: the server ended with status $status" >&2; exit 1; }
server=

say "Done. To look around: $bin/keyhold server --dev --data ./dev"
