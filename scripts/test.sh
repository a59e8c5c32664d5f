#!/usr/bin/env bash
# The tests. They run the real programs, so those are built first.
#   scripts/test.sh             all of them; as root, since the cluster's nodes are namespaces of the kernel
#   scripts/test.sh --fast      unit, property and stack tests: all that needs no Kubernetes
#   scripts/test.sh --cluster   the rest: alerts and chart, resource definition, operator, scenarios on real pods, images
set -euo pipefail
cd "$(dirname "$0")/.."
jobs="${JOBS:-$(nproc)}"
case "${1:-}" in
  '') parts=(stack cluster) ;;
  --fast) parts=(stack) ;;
  --cluster) parts=(cluster) ;;
  *) echo "test.sh: ${1} is not known: --fast, --cluster, or nothing for all" >&2 && exit 64 ;;
esac
if [ "${parts[-1]}" = cluster ] && [ "$(id -u)" != 0 ]; then
  # Fails now, and not after twenty minutes.
  echo "test.sh: the tests on Kubernetes make namespaces, bridges and mounts: run 'sudo env PATH=\$PATH make test', or 'make test-fast' without them" >&2
  exit 77
fi

# Takes seconds, so it comes first.
tests/cluster/ownership_test.sh

# The Kubernetes binaries take longest when there is no cache of them: in the background, beside the first build.
if [ "${parts[-1]}" = cluster ]; then
  output="$(mktemp)"
  trap 'rm -f "$output"' EXIT
  tests/cluster/bin/cluster build >"$output" 2>&1 &
  kubernetes=$!
fi
cargo --locked build -j"$jobs" --workspace --bins
# Waits before any test runs, because some tests would miss their deadlines beside Go's compiler.
if [ -n "${kubernetes:-}" ] && ! wait "$kubernetes"; then
  cat "$output" >&2
  exit 1
fi
metadata="$(cargo --locked metadata --format-version 1 --no-deps)"
BKV_BIN_DIR="$(python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])' <<<"$metadata")/debug"
export BKV_BIN_DIR

# Arguments for cargo: the test targets of a part. By their names and not by leaving a package out: that would build libraries with other features,
# and so all of them again.
# shellcheck disable=SC2317 # called by the parts
targets() {
  python3 -c '
import json, sys
parts = {"bkv-stack-tests": "stack", "bkv-cluster-tests": "cluster"}
for package in json.load(sys.stdin)["packages"]:
    if parts.get(package["name"], "rest") == sys.argv[1]:
        for target in package["targets"]:
            # The bench of many resources does not test correctness.
            if "test" in target["kind"] and target["name"] != "scale":
                print("--test"); print(target["name"])' "$1" <<<"$metadata"
}

# shellcheck disable=SC2317 # called by its name, at the end
stack() {
  local failed=0
  mapfile -t tests < <(targets rest)
  cargo --locked test -j"$jobs" --workspace --no-fail-fast --lib --bins "${tests[@]}" || failed=$?
  # These tests mostly wait for other programs, so more of them run than there are processors.
  mapfile -t tests < <(targets stack)
  cargo --locked test -j"$jobs" --workspace --no-fail-fast "${tests[@]}" -- --test-threads 4 || failed=$?
  return "$failed"
}

# shellcheck disable=SC2317 # called by its name, at the end
cluster() {
  local failed=0
  mapfile -t tests < <(targets cluster)
  charts/on_api_server.sh || failed=$?
  monitoring/check.sh || failed=$?
  # These tests mostly wait for a server, so more of them run than there are processors.
  cargo --locked test -j"$jobs" --workspace --no-fail-fast "${tests[@]}" -- --test-threads 4 || failed=$?
  images/check.sh --bin-dir "$BKV_BIN_DIR" || failed=$?
  return "$failed"
}

# Runs all of them even after one has failed, because a second failure is worth knowing.
failed=0
for part in "${parts[@]}"; do
  "$part" || failed=$?
done
exit "$failed"
