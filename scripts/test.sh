#!/usr/bin/env bash
# Unit, property and stack tests; the stack tests run the real programs, so those are built first. With --cluster instead: everything that needs a
# Kubernetes, images, helm or promtool.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs="${JOBS:-$(nproc)}"
part=stack
[ "${1:-}" = --cluster ] && part=cluster

# The Kubernetes binaries take longest when there is no cache of them: in the background, beside the first build.
if [ "$part" = cluster ]; then
  said="$(mktemp)"
  trap 'rm -f "$said"' EXIT
  tests/cluster/bin/cluster build >"$said" 2>&1 &
  kubernetes=$!
fi
cargo --locked build -j"$jobs" --workspace --bins
metadata="$(cargo --locked metadata --format-version 1 --no-deps)"
BKV_BIN_DIR="$(python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])' <<<"$metadata")/debug"
export BKV_BIN_DIR
# By their names and not by leaving a package out: that would build libraries with other features, and so all of them again.
mapfile -t tests < <(python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if (package["name"] == "bkv-cluster-tests") == (sys.argv[1] == "cluster"):
        for target in package["targets"]:
            # The bench of many resources is no test of right or wrong.
            if "test" in target["kind"] and target["name"] != "scale":
                print("--test"); print(target["name"])' "$part" <<<"$metadata")

# All of them, also after one has failed: a second failure is worth knowing.
if [ "$part" = stack ]; then
  exec cargo --locked test -j"$jobs" --workspace --no-fail-fast --lib --bins "${tests[@]}"
fi
if ! wait "$kubernetes"; then
  cat "$said" >&2
  exit 1
fi
failed=0
charts/check.sh || failed=$?
monitoring/check.sh || failed=$?
cargo --locked test -j"$jobs" --workspace --no-fail-fast "${tests[@]}" || failed=$?
images/check.sh --bin-dir "$BKV_BIN_DIR" || failed=$?
exit "$failed"
