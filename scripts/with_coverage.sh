#!/usr/bin/env bash
# with_coverage.sh RUSTC ARGUMENTS…: a compiler of this workspace's crates that counts which branches run, as libFuzzer needs it. For scripts/fuzz.sh.
# Crates from elsewhere stay as they are: what fuzzing is to reach lies in this workspace, and their builds are those of the tests.
set -euo pipefail
for argument; do
  case "$argument" in
    # These run in the compiler or in cargo, without libFuzzer.
    build_script_*|proc-macro) exec "$@" ;;
  esac
done
exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0
