#!/usr/bin/env bash
# Are the alerts, their tests, the runbooks and the dashboard right, and about metrics that exist?
#   check.sh                all checks that need no running fleet
#   check.sh scrapes DIR    that: what it exposed, in files vault*.prom, chatd*.prom, operator*.prom
#   PROMTOOL=PATH           another promtool
set -euo pipefail
cd "$(dirname "$0")/.."

export PYTHONDONTWRITEBYTECODE=1
python=python3
"$python" -c 'import yaml' 2>/dev/null || python=/usr/bin/python3
if ! "$python" -c 'import yaml' 2>/dev/null; then
  echo "Python's yaml is missing: apt-get install python3-yaml" >&2
  exit 69
fi
if [ "${1:-}" = scrapes ]; then
  exec "$python" monitoring/check/scrapes.py "$2"
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
