#!/usr/bin/env bash
# Tests the chart on a real API server without nodes, which the script starts and stops: every object as a dry run, then installed, upgraded and uninstalled,
# and the operator's rights compared with rbac.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."
cluster=tests/cluster/bin/cluster
dir=$(mktemp -d "${TMPDIR:-/tmp}/bkv-chart.XXXXXX")
trap '"$cluster" --dir "$dir" down >/dev/null || true; rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$cluster" --dir "$dir" up --nodes 0 >/dev/null
export KUBECONFIG=$dir/kubeconfig
charts/check.sh
charts/lifecycle.sh
