# shellcheck shell=bash
# The commands up, down and status.

up() { # NODES
  local number since
  since=$(now)
  [[ $1 =~ ^[0-3]$ ]] || fail 64 "--nodes 0 to 3"
  nodes=$1
  is_built || build
  if [ "$nodes" -gt 0 ]; then
    needs_root "a cluster with nodes"
    needs_of_nodes
    [ -e "$dir/settings" ] || require_no_other_cluster
    case $dir/:$built/ in /run/* | *:/run/*) fail 64 "a node has a /run of its own: choose a --dir and a BKV_CACHE elsewhere" ;; esac
  fi
  new_state "$nodes"
  trap 'on_up_end $?' EXIT
  if [ "$nodes" -gt 0 ]; then
    make_bridge
    make_fixed_folders
  fi
  start_control_plane
  for number in $(node_numbers); do start_node "$number"; done
  touch "$dir/api-is-ready"
  if [ "$nodes" -gt 0 ]; then
    kube apply -f "$here/manifests/coredns.yaml" >/dev/null
    volumes
    for number in $(node_numbers); do await_node "$number" "$since"; done
    route_services
    wait_until 90 dns_is_there || fail 70 "CoreDNS is not available: '$0 --dir $dir kubectl -n kube-system get pods'"
    say "DNS answers on every node"
  fi
  trap - EXIT
  say "up with $nodes nodes; KUBECONFIG=$dir/kubeconfig"
}

on_up_end() {
  [ "$1" -eq 0 ] || echo "cluster: not up. Logs are below $dir; '$0 --dir $dir down' takes the rest away." >&2
}

dns_is_there() {
  [ "$(kube -n kube-system get daemonset coredns -o 'jsonpath={.status.numberAvailable}' 2>/dev/null)" = "$nodes" ]
}

down() {
  local number name
  [ -e "$dir/settings" ] || { say "no cluster runs in $dir"; return 0; }
  read_state
  # If there is no lock file, the `up` ended before it made one and started nothing.
  if [ -e "$dir/lock" ]; then lock_state 120 || { say "another process took it down"; return 0; }; fi
  if [ -e "$dir/processes" ]; then
    for name in $(started_names); do end "$name"; done
  fi
  # The bridge shows which cluster the links and cgroups belong to, so it is removed last.
  if is_our_bridge; then
    remove_links
    for number in 1 2 3; do remove_node_cgroup "$number"; done
    [ ! -e "$dir/made-folders" ] || remove_fixed_folders
    remove_bridge
  fi
  # No mount of a run is visible to the machine. Otherwise deleting the folder would delete what is mounted there.
  if grep -qF " $dir/" /proc/self/mounts; then fail 70 "something is still mounted below $dir: $(grep -F " $dir/" /proc/self/mounts)"; fi
  rm -rf --one-file-system "$dir"
  say "down: nothing is left of $dir"
}

status() {
  local name pid number
  read_state
  echo "folder $dir, binaries $built"
  for name in $(started_names); do
    if pid=$(alive_pid "$name"); then
      echo "  $name: up, process $pid"
    else
      echo "  $name: DOWN"
    fi
  done
  for number in $(node_numbers); do
    is_plugged_in "$number" || echo "  node$number: no link"
  done
  is_up || exit 69
  [ "$nodes" -eq 0 ] || kube get nodes -L topology.kubernetes.io/region
}
