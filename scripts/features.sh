#!/usr/bin/env bash
# No program that is shipped may contain what opens it to the tests: the features `forensics` (reads a stopped vault) and `put-back` (turns rules off).
# Only dev-dependencies enable them, and a build of the programs has none.
set -euo pipefail
cd "$(dirname "$0")/.."
tree() {
  cargo --locked tree --workspace --prefix none --format '{p} {f}' --edges "$1" | grep -E '(forensics|put-back)' | grep -E '^bkv-[a-z-]+ v' | sort -u || true
}
# With dev-dependencies they must show: otherwise this check looks for names that are gone.
for name in forensics put-back; do
  tree normal,build,dev | grep -q "$name" || { echo "features.sh: no test enables the feature $name: change this script with its name" >&2 && exit 1; }
done
found="$(tree normal,build)"
[ -z "$found" ] || { echo "features.sh: a shipped program would contain a feature for tests only:" >&2 && echo "$found" >&2 && exit 1; }
