#!/usr/bin/env bash
# Unit, property, stack and cluster tests, then what watches over chart, alerts and images. The stack and cluster tests run the real programs, so those
# are built first. With --fast: without everything that needs a Kubernetes or images.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs="${JOBS:-$(nproc)}"
fast=''
[ "${1:-}" = --fast ] && fast=yes

# The Kubernetes binaries take longest when there is no cache of them: in the background, beside the first build.
if [ -z "$fast" ]; then
  tests/cluster/bin/cluster build >"${TMPDIR:-/tmp}/bkv-cluster-build.$$.log" 2>&1 &
  kubernetes=$!
fi
cargo --locked build -j"$jobs" --workspace --bins
metadata="$(cargo --locked metadata --format-version 1 --no-deps)"
BKV_BIN_DIR="$(python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])' <<<"$metadata")/debug"
export BKV_BIN_DIR

if [ -n "$fast" ]; then
  # By their names and not by leaving a package out: that would build libraries with other features, and so all of them again.
  mapfile -t tests < <(python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] != "bkv-cluster-tests":
        for target in package["targets"]:
            if "test" in target["kind"]:
                print("--test"); print(target["name"])' <<<"$metadata")
  exec cargo --locked test -j"$jobs" --workspace --no-fail-fast --lib --bins "${tests[@]}"
fi

if ! wait "$kubernetes"; then
  cat "${TMPDIR:-/tmp}/bkv-cluster-build.$$.log" >&2
  exit 1
fi
rm -f "${TMPDIR:-/tmp}/bkv-cluster-build.$$.log"
# All of them, also after one has failed: a second failure is worth knowing.
failed=0
cargo --locked test -j"$jobs" --workspace --no-fail-fast || failed=$?
images/check.sh --bin-dir "$BKV_BIN_DIR" || failed=$?
charts/check.sh || failed=$?
monitoring/check.sh || failed=$?
exit "$failed"
