#!/usr/bin/env bash
# Fuzzes the handlers by libFuzzer (tests/fuzz), one target after the other, for MINUTES each.
#   scripts/fuzz.sh               builds and runs all targets
#   scripts/fuzz.sh TARGET…       only these: peers, regions, requests, relay, websocket, links
#   scripts/fuzz.sh --build       only builds
# What a run learns is kept in the cache, so the next one goes on from there. A failure prints how to repeat it.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source-path=SCRIPTDIR source=lib.sh
source scripts/lib.sh
minutes="${MINUTES:-10}"
[[ "$minutes" =~ ^[0-9]+$ ]] || { echo "fuzz.sh: MINUTES='$minutes' is no number" >&2 && exit 64; }
action=run
targets=()
for argument; do
  case "$argument" in
    --build) action=build ;;
    peers|regions|requests|relay|websocket|links) targets+=("$argument") ;;
    *) echo "fuzz.sh: $argument is not known: --build, peers, regions, requests, relay, websocket or links" >&2 && exit 64 ;;
  esac
done
[ "${#targets[@]}" -gt 0 ] || targets=(peers regions requests relay websocket links)

# Without a sanitizer: the project's own crates forbid unsafe code, the vault's allocator would hide errors from it, and it would need a nightly compiler.
# The whole workspace is named, so that the libraries of others are those of the tests.
RUSTC_WORKSPACE_WRAPPER="$PWD/scripts/with_coverage.sh" \
  cargo --locked build -j"${JOBS:-$(nproc)}" --workspace --bin bkv-fuzz --features bkv-fuzz/libfuzzer
[ "$action" != build ] || exit 0

program="$(cargo_target)/debug/bkv-fuzz"
kept="${BKV_CACHE:-$HOME/.cache/bkv}/fuzz"
# The stores are in memory: a disk would take most of the time.
TMPDIR="$(mktemp -d -p /dev/shm bkv-fuzz-XXXXXX)"
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
failed=0
for target in "${targets[@]}"; do
  learnt="$kept/learnt/$target" broken="$kept/broken/$target" log="$kept/$target.log"
  mkdir -p "$learnt" "$broken"
  export BKV_FUZZ_TARGET="$target" BKV_FUZZ_HISTORY="$broken/history"
  echo "fuzz: $target for $minutes min (log: $log)"
  BKV_FUZZ_SEEDS="$learnt" "$program"
  if nice -n 19 "$program" -max_total_time="$((minutes * 60))" -timeout=900 -rss_limit_mb=4096 -max_len=4096 -len_control=0 -reload=0 \
    -print_final_stats=1 -artifact_prefix="$broken/" "$learnt" >"$log" 2>&1; then
    sed -n 's/^stat::number_of_executed_units: */fuzz:   inputs: /p; s/^stat::peak_rss_mb: */fuzz:   MiB at most: /p' "$log"
  else
    failed=1
    tail -n 40 "$log"
    echo "fuzz: $target FAILED. The input is in $broken. Repeat it: BKV_FUZZ_TARGET=$target $program FILE. If that does not fail, repeat all inputs of the same replicas, in order: BKV_FUZZ_TARGET=$target $program $broken/history/*/*"
  fi
done
exit "$failed"
