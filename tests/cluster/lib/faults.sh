# shellcheck shell=bash
# Faults that tests inject into a cluster.

node_down() { # NUMBER: power cut
  is_alive "node$1" || fail 69 "node$1 is down already"
  stop_node "$1"
  route_services
  say "node$1 is down; the cluster takes about 20 s to notice"
}

node_up() { # NUMBER
  is_alive "node$1" && fail 69 "node$1 is up already"
  local since
  since=$(now)
  start_node "$1"
  await_node "$1" "$since"
  route_services
}

# The node keeps running, but no other node and no API server can reach it.
partition() { # NUMBER
  is_alive "node$1" || fail 69 "node$1 is down"
  ip link set "$(node_link "$1")" down
  route_services
  say "node$1 is cut off"
}

heal() { # NUMBER
  is_alive "node$1" || fail 69 "node$1 is down"
  ip link set "$(node_link "$1")" up
  wait_until 5 is_plugged_in "$1" || fail 70 "the link of node$1 does not come up"
  route_services
  say "node$1 is connected again"
}

# signal_pod SIGNAL NAMESPACE POD: to all processes of its containers (not to the sandbox that holds its addresses)
signal_pod() {
  local node container containers process count=0
  node=$(kube -n "$2" get pod "$3" -o 'jsonpath={.spec.nodeName}') || exit 69
  containers=$(kube -n "$2" get pod "$3" -o 'jsonpath={range .status.containerStatuses[*]}{.containerID}{"\n"}{end}')
  for container in $containers; do
    for process in $(processes_of_container "${node#node}" "${container#containerd://}"); do
      kill "-$1" "$process" && count=$((count + 1))
    done
  done
  [ "$count" -gt 0 ] || fail 69 "no process of pod $2/$3 found on ${node:-any node}"
  say "$1 to $count processes of $2/$3 on $node"
}
