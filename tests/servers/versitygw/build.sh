#!/usr/bin/env bash
# Builds versitygw, an S3 server over a folder, for tests and the demo. Prints the path of the program, nothing else, on stdout.
# The program lies outside the checkout, keyed by the modules' digests, so it is built once per version: two minutes.
# Exit 3: Go is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${BKV_CACHE:-$HOME/.cache/bkv}
key=$(cat "$here/go.mod" "$here/go.sum" | sha256sum | cut -c1-16)
program=$cache/versitygw/$key/versitygw

if [ ! -x "$program" ]; then
  command -v go >/dev/null || { echo "versitygw: 'go' is not installed (https://go.dev/dl)" >&2; exit 3; }
  mkdir -p "$(dirname "$program")"
  # A second caller waits for the first one and then finds the program.
  exec 9>"$cache/versitygw/lock"
  flock 9
  if [ ! -x "$program" ]; then
    # Renamed at the end, so that an interrupted build leaves no partial program under the final name.
    (cd "$here" && env GOCACHE="$cache/go/build" GOMODCACHE="$cache/go/mod" GOTOOLCHAIN=local GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 \
      nice go build -trimpath -p "${JOBS:-2}" -ldflags '-s -w' -o "$program.new" github.com/versity/versitygw/cmd/versitygw) >&2
    mv "$program.new" "$program"
  fi
fi
echo "$program"
