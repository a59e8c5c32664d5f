#!/usr/bin/env bash
# make kind-down: removes the cluster that up.sh made, with all keys in it. It succeeds if there is no cluster.
set -euo pipefail
command -v kind >/dev/null || { echo "missing: kind (https://kind.sigs.k8s.io)" >&2; exit 64; }
docker info >/dev/null 2>&1 || { echo "the Docker daemon does not answer" >&2; exit 69; }
exec kind delete cluster --name "${KIND_CLUSTER:-bkv}"
