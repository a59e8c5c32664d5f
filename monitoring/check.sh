#!/usr/bin/env bash
# Are the alerts, their tests, the runbooks and the dashboard right, and about metrics that exist?
#   BKV_METRICS_DIR=DIR   also against scrapes of a running fleet: vault*.prom, chatd*.prom, operator*.prom
#   PROMTOOL=PATH         another promtool
set -euo pipefail
cd "$(dirname "$0")/.."

export PYTHONDONTWRITEBYTECODE=1
python=python3
"$python" -c 'import yaml' 2>/dev/null || python=/usr/bin/python3
if ! "$python" -c 'import yaml' 2>/dev/null; then
  echo "Python's yaml is missing: apt-get install python3-yaml" >&2
  exit 69
fi
promtool=$(monitoring/promtool.sh)

"$promtool" check rules monitoring/rules.yaml
"$promtool" test rules monitoring/tests/*.yaml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" monitoring/check/panels.py >"$work/panels.yaml"
"$promtool" check rules "$work/panels.yaml"
"$python" monitoring/check/coverage.py
"$python" monitoring/check/exposed.py
if [ -n "${BKV_METRICS_DIR:-}" ]; then
  "$python" monitoring/check/scrapes.py "$BKV_METRICS_DIR"
else
  echo "skipped: scrapes of a running fleet (BKV_METRICS_DIR names none)"
fi
