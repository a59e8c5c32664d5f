#!/usr/bin/env bash
# Proves the cluster: three pods in three regions under `restricted`, each with a volume; exec, logs, services, names; a power
# cut, a cut cable, a hung process; and after `down`, that nothing is left on the machine. About two minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cluster=$here/bin/cluster
BKV_CLUSTER_DIR=$(mktemp -d "${TMPDIR:-/tmp}/bkv-selftest.XXXXXX")
export BKV_CLUSTER_DIR
scratch=$(mktemp -d)
kubectl() { "$cluster" kubectl -n selftest "$@"; }

finish() {
  local code=$?
  [ "$code" -eq 0 ] || kubectl get pods,events -o wide 2>/dev/null | tail -40 >&2 || true
  "$cluster" down >/dev/null || true
  rm -rf "$scratch" "$BKV_CLUSTER_DIR"
  [ "$code" -eq 0 ] || echo "selftest: FAILED" >&2
}
trap finish EXIT

step() { printf '%(%H:%M:%S)T %s\n' -1 "$*"; }
broken() {
  echo "selftest: $*" >&2
  exit 1
}
same() { [ "$2" = "$3" ] || broken "$1: expected '$3', got '$2'"; } # WHAT GOT EXPECTED
within() {                                                          # SECONDS COMMAND…
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || broken "in vain: $*"
    sleep 0.5
  done
}
ready() { kubectl get pod "$1" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'; }
is_ready() { [ "$(ready "$1")" = True ]; }
is_not_ready() { [ "$(ready "$1")" = False ]; }
# probe N URL: prints the answer of URL to pod N
probe() { kubectl exec "probe-$1" -- /probe get "$2"; }
starts() { probe "$1" http://localhost:8080/ | cut -d' ' -f2; }
# Names of the nodes that have been lost at any time
lost_nodes() {
  "$cluster" kubectl -n default get events --field-selector reason=NodeNotReady,involvedObject.kind=Node \
    -o 'jsonpath={range .items[*]}{.involvedObject.name}{"\n"}{end}' | sort -u | xargs
}
pod_on() { kubectl get pods -o "jsonpath={.items[?(@.spec.nodeName==\"node$1\")].metadata.name}"; }

# Prints what a cluster could leave behind, as sorted lines. Only names of ours, because other programs work on this machine.
machine() {
  {
    set +e # what is not there is no error
    ip -br link | grep -oE '^(bkv|veth|cni)[^ @]*'
    ip -4 route | grep -E '^10\.(96|200|244)\.'
    ip netns
    iptables-save | grep -iE '^(-A|:)(KUBE|CNI)'
    grep -E "$BKV_CLUSTER_DIR|/var/(lib/kubelet|lib/cni|log/pods|log/containers)" /proc/self/mounts
    find /sys/fs/cgroup -maxdepth 2 -name 'bkv-node*'
    ls -d /var/lib/kubelet /var/log/pods /var/log/containers /var/lib/cni /etc/cni "$BKV_CLUSTER_DIR"
    :
  } 2>/dev/null | sort
}
# The PID namespaces of the nodes as they are now, to be looked for later
spaces=none
note_spaces() {
  local process
  # The namespaces of a node before its restart no longer exist.
  while read -r process _; do spaces+=" $(readlink "/proc/$process/ns/pid" || echo none)"; done < <(grep ' node' "$BKV_CLUSTER_DIR/processes")
}
# Processes that name this run's folder, are in a node's PID namespace or in a node's cgroup
processes() {
  local process
  for process in /proc/[0-9]*; do
    if grep -qF "$BKV_CLUSTER_DIR/" "$process/cmdline" || grep -q '/bkv-node' "$process/cgroup" ||
      [[ " $spaces " == *" $(readlink "$process/ns/pid" || echo unreadable) "* ]]; then
      echo "process ${process#/proc/} $(tr '\0' ' ' <"$process/cmdline" | cut -c1-80)"
    fi
  done 2>/dev/null
}
# Prints what exists now and did not exist before
added() { comm -13 "$scratch/before" <(machine) && processes; }
nothing_is_left() { [ -z "$(added)" ] || broken "$1 left this behind: $(added)"; }

[ ! -e /sys/class/net/bkv0 ] || broken "another cluster with nodes is up: $(cat /sys/class/net/bkv0/ifalias)"
rmdir "$BKV_CLUSTER_DIR"
machine >"$scratch/before"
"$cluster" build

step "folders of other users"
"$here/ownership_test.sh"

step "an 'up' that is killed in the middle leaves nothing after 'down'"
setsid "$cluster" up >"$scratch/killed.log" 2>&1 &
killed=$!
within 60 test -e "$BKV_CLUSTER_DIR/node2/kubelet.yaml"
kill -KILL "$killed"
note_spaces
wait "$killed" 2>"$scratch/killed.log" || true
"$cluster" down
nothing_is_left "an 'up' that was killed"

step "up"
"$cluster" up
code=0
"$cluster" up 2>"$scratch/second" || code=$?
same "exit code of a second up" "$code" 75
"$cluster" status
note_spaces
# The check 'nothing is left' compares these lists, so they must not be empty while the cluster runs.
[ "$(added | grep -c '^process')" -ge 20 ] || broken "the search for processes finds too little: $(added)"
[ "$(added | grep -vc '^process')" -ge 15 ] || broken "the search for traces finds too little: $(added)"

step "three pods, restricted, one in each region, a volume each"
"$cluster" kubectl apply -f "$here/manifests/selftest.yaml"
for number in 0 1 2; do within 90 is_ready "probe-$number"; done
kubectl get pods -o wide
same "nodes of the pods" "$(kubectl get pods -o 'jsonpath={.items[*].spec.nodeName}' | tr ' ' '\n' | sort -u | wc -l)" 3
kubectl run refused --image=localhost/probe:local --restart=Never 2>"$scratch/refused" && broken "a pod that is not restricted was let in"
grep -q 'violates PodSecurity "restricted' "$scratch/refused" || broken "refused for another reason: $(cat "$scratch/refused")"
for number in 1 2 3; do kubectl create configmap "quota-$number" >/dev/null 2>"$scratch/quota" || break; done
grep -q 'exceeded quota' "$scratch/quota" || broken "the quota of config maps does not hold"

step "exec, logs, names, services"
same "logs" "$(kubectl logs probe-0)" "probe-0 serves, start 1"
for number in 0 1 2; do
  same "by name" "$(probe "$number" "http://probe-$(((number + 1) % 3)).probe:8080/")" "probe-$(((number + 1) % 3)) 1"
done
address=$(kubectl get service probe-any -o 'jsonpath={.spec.clusterIP}')
within 20 probe 0 http://probe-any.selftest.svc.cluster.local/
curl --noproxy '*' -sf -m 5 "http://$address/" | grep -q '^probe-' || broken "the service can't be reached from the host"

step "power cut of node2"
victim=$(pod_on 2)
"$cluster" node down 2
within 60 is_not_ready "${victim}"
for number in 0 1 2; do
  [ "probe-$number" = "$victim" ] || within 10 probe "$number" "http://probe-any/"
done
"$cluster" node up 2
within 90 is_ready "$victim"
same "starts of $victim, counted on its volume" "$(starts "${victim#probe-}")" 2
same "nodes that were lost" "$(lost_nodes)" node2
note_spaces

step "node3 cut off, and healed"
victim=$(pod_on 3)
"$cluster" partition 3
within 60 is_not_ready "$victim"
"$cluster" heal 3
within 60 is_ready "$victim"
same "starts of $victim, which ran on meanwhile" "$(starts "${victim#probe-}")" 1
same "nodes that were lost" "$(lost_nodes)" "node2 node3"

step "a hung process"
other=$(pod_on 1)
"$cluster" pause -n selftest "$victim"
probe "${other#probe-}" "http://$victim.probe:8080/" 2>/dev/null && broken "a stopped process answered"
"$cluster" resume -n selftest "$victim"
within 10 probe "${other#probe-}" "http://$victim.probe:8080/"

step "released volumes come back empty"
kubectl delete statefulset probe --cascade=foreground --timeout=60s
kubectl delete persistentvolumeclaims --all --timeout=60s
"$cluster" volumes
same "free volumes" "$("$cluster" kubectl get persistentvolumes --no-headers | grep -c Available)" 36
kubectl get persistentvolumeclaims 2>&1 | grep -q 'No resources' || broken "claims are left"

step "down"
"$cluster" down
nothing_is_left "a cluster that lived"

step "without nodes, two at a time"
"$cluster" --dir "$scratch/one" up --nodes 0
"$cluster" --dir "$scratch/two" up --nodes 0
one() { "$cluster" --dir "$scratch/one" kubectl "$@"; }
sample() { # NAME REGION SIZE
  printf '{"apiVersion":"selftest.bkv.dev/v1","kind":"Sample","metadata":{"name":"%s"},"spec":{"region":"%s","size":%d}}' "$@" |
    one apply -f -
}
one apply -f "$here/manifests/selftest-definition.yaml"
one wait --for=condition=Established crd/samples.selftest.bkv.dev --timeout=20s
within 10 sample first eu-west 2
sample second us-east 2
same "selected by a field" "$(one get samples --field-selector spec.region=us-east -o name)" sample.selftest.bkv.dev/second
sample first eu-west 1 2>"$scratch/shrunk" && broken "a rule in CEL does not hold"
grep -q "can't shrink" "$scratch/shrunk" || broken "refused for another reason: $(cat "$scratch/shrunk")"
"$cluster" --dir "$scratch/one" down
"$cluster" --dir "$scratch/two" kubectl get namespaces >/dev/null
"$cluster" --dir "$scratch/two" down
nothing_is_left "a cluster without nodes"
step "selftest: passed"
