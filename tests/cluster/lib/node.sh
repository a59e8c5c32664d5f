# shellcheck shell=bash
# A node: one process with its own namespaces (network, mounts, PIDs, IPC, host name), in which node_inside.sh starts containerd,
# kubelet and kube-proxy. Its disk $dir/nodeN stays when the node goes down.

regions=([1]=eu-west [2]=us-east [3]=ap-south)

# Folders that the programs of a node need at fixed paths. The machine gets them as empty folders if they are missing, and only the
# node mounts something over them.
fixed_folders=(/var/lib/kubelet /var/log/pods /var/log/containers /var/lib/cni)

make_fixed_folders() {
  local folder
  for folder in "${fixed_folders[@]}"; do make_folder "$folder"; done
}

# Recorded first, so that `down` always finds it.
make_folder() {
  [ ! -d "$1" ] || return 0
  make_folder "$(dirname "$1")"
  echo "$1" >>"$dir/made-folders"
  mkdir "$1"
}

remove_fixed_folders() {
  local folder
  # Removes the newest folder first. A folder that another program uses is not empty and stays.
  tac "$dir/made-folders" | while read -r folder; do rmdir "$folder" 2>/dev/null || true; done
}

# fill TEMPLATE NUMBER: the file with its @NAMES@ filled in
fill() {
  local text
  text=$(<"$here/config/$1")
  text=${text//@NODE@/"node$2"}
  text=${text//@ADDRESS@/"$(node_address "$2")"}
  text=${text//@PODS@/"$(node_pods "$2")"}
  text=${text//@FOLDER@/"$dir/node$2"}
  text=${text//@CERTIFICATES@/"$dir/certificates"}
  text=${text//@BUILT@/"$built"}
  printf '%s\n' "$text"
}

now() { date -u +%Y-%m-%dT%H:%M:%SZ; }

start_node() { # NUMBER
  local number=$1 folder=$dir/node$1
  wait_until 10 is_unplugged "$number" || fail 70 "the link of node$number's last life is still there"
  mkdir -p "$folder"/{kubelet,containerd,pods,containers,cni-cache,cni,volumes}
  : >"$folder/resolv.conf"
  fill kubelet.yaml "$number" >"$folder/kubelet.yaml"
  fill kube-proxy.yaml "$number" >"$folder/kube-proxy.yaml"
  fill containerd.toml "$number" >"$folder/containerd.toml"
  fill bridge.conflist "$number" >"$folder/cni/10-bridge.conflist"
  make_node_cgroup "$number"
  local enter=(unshare --net --mount --pid --ipc --uts --fork --propagation private)
  start "node$number" "$BASH" "$here/lib/node_inside.sh" "$number" "$dir" "$built" "${regions[$number]}" "$nodes"
  plug_in "$number" "$(alive_pid "node$number")" || died "node$number"
}

stop_node() { # NUMBER
  end "node$1"
  wait_until 10 is_unplugged "$1" || ip link del "$(node_link "$1")"
  remove_node_cgroup "$1"
}

# node_is_ready NUMBER SINCE: true if the node has reported Ready since then. After a power cut the API server still has the older report.
node_is_ready() {
  local status heard
  is_alive "node$1" || died "node$1"
  read -r status heard < <(kube get node "node$1" 2>/dev/null \
    -o 'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.lastHeartbeatTime}{"\n"}{end}') || return 1
  [ "$status" = True ] && [[ ! $heard < $2 ]]
}

await_node() { # NUMBER SINCE
  wait_until 90 node_is_ready "$1" "$2" || {
    tail -n 15 "$dir/node$1/kubelet.log" >&2
    fail 70 "node$1 is not ready; its logs are $dir/node$1/*.log"
  }
  say "node$1 (${regions[$1]}) is ready"
}

# in_node NUMBER COMMAND…: runs a command in the node's namespaces
in_node() {
  local pid
  pid=$(alive_pid "node$1") || fail 69 "node$1 is down"
  shift
  nsenter -t "$pid" --mount --net --pid "$@"
}

ctr_in_node() {
  local number=$1
  shift
  in_node "$number" "$built/debian/usr/bin/ctr" --address /run/containerd/containerd.sock --namespace k8s.io "$@"
}
