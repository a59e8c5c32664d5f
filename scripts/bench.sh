#!/usr/bin/env bash
# Builds the shipped programs, and the benchmark beside them in a build of its own (its SDK leaves the key stretching out, which no shipped
# program may), runs it, and leaves nothing but target/bench/results.json. Arguments go to the benchmark: --quick, --records N, --only stream …
# Without arguments it first measures the parts alone: cryptography, handshake, digest, token, and the memory of a snapshot.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs="${JOBS:-$(nproc)}"
# shellcheck source-path=SCRIPTDIR source=lib.sh
source scripts/lib.sh
target=$(cargo_target)
# The whole workspace is named both times, so that the libraries of others are built once, with one set of features.
cargo --locked build --release -j"$jobs" --workspace --bin bkv --bin bkv-vault --bin bkv-chatd
features=bkv-bench/identity-ksf
cargo --locked build --release -j"$jobs" --workspace --bin bkv-bench --features "$features"
if [ $# -eq 0 ]; then
  cargo --locked bench -j"$jobs" --workspace --features "$features" \
    --bench recovery --bench handshake --bench digest --bench token --bench snapshot
fi
exec "$target/release/bkv-bench" --bin-dir "$target/release" --output "$target/bench/results.json" "$@"
