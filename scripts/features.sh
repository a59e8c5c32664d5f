#!/usr/bin/env bash
# Fails if a shipped program would be built with a feature for tests only: `forensics` (reads a stopped vault) or `put-back` (turns rules off).
# Only dev-dependencies may enable these features.
set -euo pipefail
cd "$(dirname "$0")/.."
tree() {
  cargo --locked tree --workspace --prefix none --format '{p} {f}' --edges "$1" | grep -E '(forensics|put-back)' | grep -E '^bkv-[a-z-]+ v' | sort -u || true
}
# With dev-dependencies both must appear. Otherwise this script looks for a name that no longer exists.
with_tests="$(tree normal,build,dev)"
for name in forensics put-back; do
  grep -q "$name" <<<"$with_tests" || { echo "features.sh: no test enables the feature $name: change this script with its name" >&2 && exit 1; }
done
found="$(tree normal,build)"
[ -z "$found" ] || { echo "features.sh: a shipped program would contain a feature for tests only:" >&2 && echo "$found" >&2 && exit 1; }
