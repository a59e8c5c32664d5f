#!/usr/bin/env bash
# Measures the operator with many resources (BKV_SCALE, by default 500) on an API server without nodes. The release operator if it was built
# (`make build`), else a debug one, whose figures are for comparison only.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs="${JOBS:-$(nproc)}"
# shellcheck source-path=SCRIPTDIR source=lib.sh
source scripts/lib.sh
target=$(cargo_target)
if [ -z "${BKV_BIN_DIR:-}" ] && [ -x "$target/release/bkv-operator" ]; then export BKV_BIN_DIR="$target/release"; fi
if [ -z "${BKV_BIN_DIR:-}" ]; then cargo --locked build -j"$jobs" --workspace --bin bkv-operator; fi
exec cargo --locked test -j"$jobs" --workspace --test scale -- --ignored --nocapture
