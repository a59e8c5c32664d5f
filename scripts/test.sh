#!/usr/bin/env bash
# Unit, property and stack tests. The stack tests run the real programs, so those are built first.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs="${JOBS:-$(nproc)}"
cargo --locked build -j"$jobs" --workspace --bins
BKV_BIN_DIR="$(cargo --locked metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/debug"
export BKV_BIN_DIR
# All of them, also after one has failed: a second failure is worth knowing.
cargo --locked test -j"$jobs" --workspace --no-fail-fast
