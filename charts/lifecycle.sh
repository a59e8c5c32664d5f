#!/usr/bin/env bash
# Installs, upgrades and uninstalls the chart on a real API server, as people do, and checks what is left. It needs no nodes: pods may stay Pending.
#   KUBECONFIG=FILE charts/lifecycle.sh
# It installs a CRD and deletes it again, so it refuses a cluster that already has this CRD.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${KUBECONFIG:?names no cluster}"
HELM=$(charts/tools.sh helm)
KUBECTL=$(charts/tools.sh kubectl)
export HELM KUBECTL
export PYTHONDONTWRITEBYTECODE=1
python=python3
"$python" -c 'import yaml' 2>/dev/null || python=/usr/bin/python3

crd=backupkeyvaults.bkv.dev
home=bkv-lifecycle
people=bkv-lifecycle-people
if "$KUBECTL" get crd "$crd" >/dev/null 2>&1; then
  echo "this cluster has $crd already: its resources may be somebody's, so nothing is done here" >&2
  exit 75
fi

say() { printf '%s\n' "lifecycle: $*"; }
fail() { printf '%s\n' "lifecycle: $*" >&2; exit 1; }
wait_for() { # what, then a command that is tried for 30 s
  local what="$1" end=$((SECONDS + 30))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "$what: not within 30 s"
    read -rt 0.5 <> <(:) || true
  done
}
cleanup() {
  "$HELM" uninstall bkv -n "$home" >/dev/null 2>&1 || true
  "$KUBECTL" delete crd "$crd" --ignore-not-found >/dev/null 2>&1 || true
  "$KUBECTL" delete namespace "$home" "$people" --ignore-not-found --wait=false >/dev/null 2>&1 || true
}
trap cleanup EXIT

for namespace in "$home" "$people"; do
  "$KUBECTL" create namespace "$namespace" >/dev/null
  "$KUBECTL" label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
done

helm() { "$HELM" "$1" bkv charts/bkv -n "$home" --set "namespaces={$people}" "${@:2}" >/dev/null; }

helm install
wait_for "the definition to be served" "$KUBECTL" wait --for=condition=Established "crd/$crd" --timeout=1s
# PodSecurity admission enforces `restricted` on pods, not on templates, so the test needs a real pod.
wait_for "a pod of the operator, in a namespace that enforces the restricted standard" \
  sh -c "\"$KUBECTL\" -n $home get pods -l app.kubernetes.io/name=bkv-operator -o name | grep -q ."
say "installed; the restricted standard admits the operator's pod"

"$python" charts/check/rights.py "$home" "$people"

# The test's pod is made here, and can't run without nodes and images.
"$HELM" get hooks bkv -n "$home" | "$KUBECTL" create --dry-run=server -f - >/dev/null || fail "the test's pod is refused"
say "the restricted standard admits the pod of \`helm test\` too"

helm upgrade --set example.enabled=true --set replicas=2
"$KUBECTL" -n "$people" get bkv example >/dev/null || fail "no example resource"
"$KUBECTL" -n "$home" get poddisruptionbudget bkv-operator >/dev/null || fail "no budget for two operators"
say "upgraded: an example resource, two operators, a budget"

# Helm keeps the example's resource when the example is switched off or the release is uninstalled.
helm upgrade
"$KUBECTL" -n "$people" get bkv example >/dev/null || fail "an upgrade deleted a BackupKeyVault"
[ -z "$("$KUBECTL" -n "$home" get poddisruptionbudget -o name)" ] || fail "the budget stayed"
"$HELM" uninstall bkv -n "$home" >/dev/null
"$KUBECTL" get crd "$crd" >/dev/null || fail "uninstalling deleted the definition"
"$KUBECTL" -n "$people" get bkv example >/dev/null || fail "uninstalling deleted a BackupKeyVault"
left=$("$KUBECTL" get deployment,service,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding -A -l app.kubernetes.io/part-of=bkv -o name)
[ -z "$left" ] || fail "left behind: $left"
say "uninstalled: the definition and the resource are there, nothing else is"

# Installs again over the objects that the uninstall kept.
helm install --set example.enabled=true
say "installed again over them"
