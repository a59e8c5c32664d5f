#!/usr/bin/env bash
# Runs histories of the model of forward lies (services/core/tests/model/forward) until the time is over, each part from a new random seed on.
#   scripts/soak.sh HOURS      HOURS may be a fraction such as 0.1
# A history that breaks something is printed with its seed. BKV_SEED=… replays it: see forward_test.rs.
set -euo pipefail
cd "$(dirname "$0")/.."
hours="${1:-1}"
end="$(awk -v h="$hours" -v now="$(date +%s)" 'BEGIN { if (h !~ /^[0-9.]+$/ || h <= 0) exit 1; printf "%d", now + h * 3600 }')" ||
  { echo "soak.sh: '$hours' is no number of hours" >&2 && exit 64; }
export BKV_HISTORIES=20000
cargo --locked test --release --package bkv-core --test model --no-run
while [ "$(date +%s)" -lt "$end" ]; do
  BKV_FROM="$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')"
  export BKV_FROM
  echo "seeds from $BKV_FROM on"
  cargo --locked test --release --package bkv-core --test model -- forward_lies
done
