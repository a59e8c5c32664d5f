#!/usr/bin/env bash
# Builds the shipped programs, and the benchmark beside them in a build of its own (its SDK leaves the key stretching out, which no shipped
# program may), runs it, and leaves nothing but target/bench/results.json. Arguments go to the benchmark: --quick, --records N, --only stream …
set -euo pipefail
cd "$(dirname "$0")/.."
jobs="${JOBS:-$(nproc)}"
target="$(cargo --locked metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')"
cargo --locked build --release -j"$jobs" -p bkv-cli -p bkv-vault -p bkv-chatd
cargo --locked build --release -j"$jobs" -p bkv-bench --features identity-ksf
exec "$target/release/bkv-bench" --bin-dir "$target/release" --output "$target/bench/results.json" "$@"
