#!/usr/bin/env bash
# make kind-up: a kind cluster of three regions with our images, the chart and one BackupKeyVault. May be run again over what is there.
# KIND_CLUSTER names the cluster (bkv), KIND_NODE_IMAGE its node image, IMAGES the folder of the archives (target/images), TAG their tag (dev).
# Exit codes: 64 a program is missing · 66 no images · 69 Docker does not answer · 1 the vault did not become Ready
set -euo pipefail
cd "$(dirname "$0")/.."
name=${KIND_CLUSTER:-bkv} tag=${TAG:-dev} context=kind-${KIND_CLUSTER:-bkv} issuer=${ISSUER_DIR:-$PWD/target/kind-issuer}
images=${IMAGES:-target/images}

missing=0
need() { command -v "$1" >/dev/null || { echo "missing: $1 ($2)" >&2; missing=1; }; }
need docker 'https://docs.docker.com/engine/install'
need kind 'v0.31 or later: https://kind.sigs.k8s.io'
need kubectl 'v1.35 or later'
need helm 'v3.17 or later'
need openssl "Debian's package openssl"
[ "$missing" -eq 0 ] || { echo "A cluster without Docker: tests/cluster/bin/cluster --help" >&2; exit 64; }
docker info >/dev/null 2>&1 || { echo "the Docker daemon does not answer: is it running, and may you use it?" >&2; exit 69; }
archives=()
for what in operator vault chatd postgres copier; do
  [ -e "$images/bkv-$what.oci.tar" ] || { echo "$images/bkv-$what.oci.tar is missing: run 'make images'" >&2; exit 66; }
  archives+=("$images/bkv-$what.oci.tar")
done

kube() { kubectl --context "$context" "$@"; }
kind get clusters 2>/dev/null | grep -qx "$name" ||
  kind create cluster --name "$name" --config kind/three-regions.yaml ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"} --wait 120s
for archive in "${archives[@]}"; do kind load image-archive --name "$name" "$archive"; done

for namespace in bkv-system bkv; do
  kube create namespace "$namespace" --dry-run=client -o yaml | kube apply -f -
  kube label --overwrite namespace "$namespace" pod-security.kubernetes.io/enforce=restricted
done
helm --kube-context "$context" upgrade --install bkv charts/bkv --namespace bkv-system --wait --timeout 3m --set 'namespaces={bkv}' \
  --set image.registry=localhost --set-string image.tag="$tag" --set image.pullPolicy=Never
kind/issuer.sh configmap "$issuer" | kube --namespace bkv apply -f -
kube --namespace bkv apply -f kind/demo.yaml
if ! kube --namespace bkv wait bkv/demo --for=condition=Ready --timeout=5m; then
  echo "Not ready. What it waits for:" >&2
  kube --namespace bkv get bkv demo -o jsonpath='{range .status.waits[*]}{.check}{"\t"}{.target}{"\t"}{.message}{"\n"}{end}' >&2
  kube --namespace bkv get pods -o wide >&2
  exit 1
fi
cat <<EOF

The vault is ready. ChatD is at https://localhost:8443. To go on:
  kubectl --context $context -n bkv get bkv,pods
  kind/issuer.sh token $issuer alice > alice.token
  kind/down.sh
EOF
