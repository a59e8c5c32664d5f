#!/usr/bin/env bash
# Is the chart right? Lints it, renders every case of charts/cases, compares with charts/golden and with charts/rbac.yaml, tries the values that must be
# refused.
#   charts/check.sh --write   renews the chart's copies (CRD, alerts, dashboard) and the golden files; look at the difference before you commit it
#   KUBECONFIG=FILE           also sends every object to that API server as a dry run, which stores nothing
#   HELM, KUBECTL             other programs than those that charts/tools.sh finds
set -euo pipefail
cd "$(dirname "$0")/.."

write=
case "${1:-}" in
  "") ;;
  --write) write=--write ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
esac

export PYTHONDONTWRITEBYTECODE=1
python=python3
"$python" -c 'import yaml' 2>/dev/null || python=/usr/bin/python3
if ! "$python" -c 'import yaml' 2>/dev/null; then
  echo "Python's yaml is missing: apt-get install python3-yaml" >&2
  exit 69
fi
HELM=$(charts/tools.sh helm)
export HELM

# Helm reads nothing outside the chart's folder, so the chart contains copies of three files.
copies=(
  "crds/backupkeyvaults.bkv.dev.yaml crd.yaml"
  "monitoring/rules.yaml rules.yaml"
  "monitoring/dashboard.json dashboard.json"
)
bad=
for pair in "${copies[@]}"; do
  read -r source copy <<<"$pair"
  if [ -n "$write" ]; then cp "$source" "charts/bkv/files/$copy"; fi
  if ! cmp -s "$source" "charts/bkv/files/$copy"; then
    echo "charts/bkv/files/$copy differs from $source: run charts/check.sh --write" >&2
    bad=1
  fi
done
[ -z "$bad" ] || exit 1

"$HELM" lint --strict --quiet charts/bkv
for values in charts/cases/*.yaml; do
  "$HELM" lint --strict --quiet charts/bkv --values "$values" --set example.enabled=false
done
"$python" charts/check/rendered.py ${write:+"$write"}
"$python" charts/check/refused.py

if [ -n "${KUBECONFIG:-}" ]; then
  KUBECTL=$(charts/tools.sh kubectl)
  export KUBECTL
  "$python" charts/check/judged.py
else
  echo "skipped: the dry run on an API server (KUBECONFIG names none)"
fi
