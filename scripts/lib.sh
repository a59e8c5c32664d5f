# shellcheck shell=bash
# What several scripts need. To be sourced.

# cargo_target [ARGUMENTS of cargo metadata…]: prints the folder where cargo builds.
# shellcheck disable=SC2120 # the arguments may be left out
cargo_target() {
  cargo --locked metadata --format-version 1 --no-deps "$@" | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])'
}

# Sets the colours of a terminal, or nothing where the output is none.
# shellcheck disable=SC2034 # for those who source this
colours() {
  if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' off=$'\e[0m'; else bold='' dim='' green='' off=''; fi
}
