#!/usr/bin/env bash
# The demo on a real Kubernetes of three nodes: installs the operator, creates a vault, uses it and stops a region. It prints and runs each command.
# It leaves nothing behind, also on Ctrl-C. KEEP=1 leaves the cluster running and prints how to go on. BIN_DIR is a folder of other programs than the
# release build's.
set -euo pipefail
cd "$(dirname "$0")/.."
sources=$PWD
# shellcheck source-path=SCRIPTDIR source=lib.sh
source scripts/lib.sh
target=$(cargo_target)
bin=$(realpath "${BIN_DIR:-$target/release}")
cluster=$sources/tests/cluster/bin/cluster
colours

# The demo does not show builds.
[ -x "$bin/bkv" ] || { echo "$bin/bkv is missing. Run 'make build', or set BIN_DIR to another folder." >&2; exit 66; }
"$cluster" build
images=$bin/images
images/build.sh --changed --only operator,vault,chatd,postgres,copier --bin-dir "$bin" --out "$images"

work=$(mktemp -d "${TMPDIR:-/tmp}/bkv-cluster-demo.XXXXXX")
forward=''
quiet_end() { # PID
  [ -z "$1" ] || { kill "$1" 2>/dev/null && wait "$1" 2>/dev/null; } || true
}
cleanup() {
  local code=$?
  trap '' INT TERM
  trap - EXIT
  quiet_end "$forward"
  quiet_end "${watch:-}"
  if [ "${KEEP:-}" = 1 ] && [ "$code" -eq 0 ]; then
    cat <<EOF

The cluster is up; its kubeconfig is $work/cluster/kubeconfig. To go on:
  eval "\$($cluster --dir $work/cluster env)"       # kubectl and helm, and which cluster they talk to
  export PATH=$bin:\$PATH BKV_FLEET=$work/fleet.toml
  kubectl config set-context --current --namespace bkv
  kubectl port-forward service/demo-chatd 8443:443 &
  kind/issuer.sh token $work/issuer bob > bob.token
  bkv register --token bob.token --state bob
  $cluster --dir $work/cluster --help             # how to inject faults
  $cluster --dir $work/cluster down && rm -rf $work
EOF
    exit 0
  fi
  if [ "$code" -ne 0 ] && [ "$code" -lt 130 ]; then explain >&2 || true; fi
  [ ! -e "$work/cluster/settings" ] || "$cluster" --dir "$work/cluster" down >/dev/null || true
  rm -rf "$work"
  exit "$code"
}
# Prints the status that a person would look at.
explain() {
  # Without our cluster, kubectl would use the cluster of the caller's own kubeconfig.
  [ -e "$work/cluster/kubeconfig" ] || return 0
  echo
  echo "The demo failed. The status of the resource:"
  kubectl get bkv demo -o jsonpath='{range .status.waits[*]}  {.check} {.target}: {.message}{"\n"}{end}{range .status.conditions[?(@.status!="True")]}  {.type}={.status} {.reason}: {.message}{"\n"}{end}'
  kubectl get pods -o wide
  kubectl -n bkv-system logs deployment/bkv-operator --tail=20
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

started=$SECONDS
shown=()
chapter() { printf '\n%s── %s%s\n' "$bold" "$1" "$off"; since=$SECONDS; }
run() { printf '%s$ %s%s\n' "$dim" "$*" "$off"; "$@"; }
show() { shown+=("$(printf '%4s s  %s' "$((SECONDS - since))" "$1")"); printf '%s✓ %s%s\n' "$green" "$1" "$off"; }
# Forwards a local port to ChatD's Service. It is opened again after a region is gone, because it may have led to a pod there.
forward_chatd() {
  quiet_end "$forward"
  : >"$work/forward.log"
  kubectl port-forward service/demo-chatd 8443:443 >>"$work/forward.log" 2>&1 &
  forward=$!
  printf '%s$ kubectl port-forward service/demo-chatd 8443:443 &%s\n' "$dim" "$off"
  local late=$((SECONDS + 20))
  until grep -q '^Forwarding' "$work/forward.log"; do
    if ! kill -0 "$forward" 2>/dev/null || [ "$SECONDS" -ge "$late" ]; then
      cat "$work/forward.log" >&2
      exit 69
    fi
    read -rt 0.1 <> <(:) || true
  done
}
conditions() {
  printf '%s$ kubectl get bkv demo -o jsonpath=… (its conditions)%s\n' "$dim" "$off"
  kubectl get bkv demo -o go-template='{{range .status.conditions}}{{printf "  %-18s %-8s %-16s %s\n" .type .status .reason .message}}{{end}}' | cut -c 1-150
}

chapter 'A Kubernetes of three nodes, one for each region'
run "$cluster" --dir "$work/cluster" up
eval "$("$cluster" --dir "$work/cluster" env)"
printf '%s$ cluster load bkv-{operator,vault,chatd,postgres,copier}.oci.tar%s\n' "$dim" "$off"
"$cluster" --dir "$work/cluster" load "$images"/bkv-{operator,vault,chatd,postgres,copier}.oci.tar >/dev/null
run kubectl get nodes -L topology.kubernetes.io/region
show 'a real cluster: API server, three kubelets, pods'

chapter 'The operator, in a namespace of its own; both namespaces admit only restricted pods'
for namespace in bkv-system bkv; do
  run kubectl create namespace "$namespace"
  run kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted
done
run kubectl config set-context --current --namespace bkv
run helm install bkv charts/bkv --namespace bkv-system --set 'namespaces={bkv}' --set image.tag=dev --set image.pullPolicy=Never --set replicas=2 --wait --timeout 2m --hide-notes
show 'the operator runs with minimal rights'

chapter 'One resource: three regions with a token each'
printf '%s$ kind/issuer.sh configmap issuer | kubectl apply -f -%s\n' "$dim" "$off"
kind/issuer.sh configmap "$work/issuer" | kubectl apply -f -
run kubectl apply -f kind/demo.yaml
printf '%s$ kubectl get bkv -w%s\n' "$dim" "$off"
kubectl get bkv -w 2>/dev/null &
watch=$!
kubectl wait bkv/demo --for=condition=Ready --timeout=3m >/dev/null
kubectl wait bkv/demo --for=jsonpath='{.status.phase}'=Ready --timeout=1m >/dev/null
quiet_end "$watch"
watch=''
run kubectl get pods -o wide
show 'the fleet of the resource serves'

chapter 'Alice registers, and backs up a folder'
cd "$work"
export PATH="$bin:$PATH" BKV_FLEET=$work/fleet.toml
install -m 600 /dev/null password
printf 'quiet otter paints the north window' >password
printf '%s$ kubectl get configmap demo-root … >root.bin; kubectl get secret demo-chatd-web … >ca.pem%s\n' "$dim" "$off"
kubectl get configmap demo-root -o jsonpath='{.binaryData.root\.bin}' | base64 -d >root.bin
kubectl get secret demo-chatd-web -o jsonpath='{.data.ca\.crt}' | base64 -d >ca.pem
printf 'chatd = "https://localhost:8443"\nroot = "root.bin"\nchatd_ca = "ca.pem"\n' >fleet.toml
run cat fleet.toml
forward_chatd
"$sources/kind/issuer.sh" token issuer alice >alice.token
run bkv register --token alice.token --state phone --password-file password
cp -r "$sources/docs" photos
mkdir cloud
run bkv backup photos --to cloud --token alice.token --state phone
show 'the key lies in three regions, the backup in a cloud folder'

chapter 'The phone is gone; a new one restores'
mv photos originals
run rm -rf phone
run bkv restore cloud --to photos --token alice.token --state new-phone --password-file password
run diff -r originals photos
show 'restored through the Service of ChatD, byte by byte'

chapter 'A region fails: a whole node loses power'
run "$cluster" --dir "$work/cluster" node down 1
# Services still route to the pods of a dead node until the control plane marks the node as lost.
run kubectl wait node/node1 --for=condition=Ready=Unknown --timeout=60s
run kubectl wait bkv/demo --for=jsonpath='{.status.phase}'=Degraded --timeout=60s
run kubectl get bkv
conditions
forward_chatd
rm -rf photos new-phone
run bkv restore cloud --to photos --token alice.token --state newer-phone --password-file password
run diff -r originals photos
run bkv status --token alice.token --state newer-phone
show 'two of three regions are enough, and no try was spent'

chapter 'The node returns'
run "$cluster" --dir "$work/cluster" node up 1
run kubectl wait bkv/demo --for=jsonpath='{.status.phase}'=Ready --timeout=2m
conditions
show 'healed without any action of a person'

chapter 'What was shown'
for line in "${shown[@]}"; do printf '  ✓ %s\n' "$line"; done
printf '\n  in %s s\n' "$((SECONDS - started))"
