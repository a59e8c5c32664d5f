# shellcheck shell=bash
# Each node has its own cgroup /bkv-nodeN, in which its kubelet makes the pods' cgroups. In version 1 that is one folder in each
# hierarchy. In version 2 it is one folder, to which the controllers must be delegated first.

cgroup_version() { if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then echo 2; else echo 1; fi; }

hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts | sort -u; }

make_node_cgroup() { # NUMBER
  local hierarchy group
  for hierarchy in $(hierarchies); do
    group=$hierarchy/bkv-node$1
    if [ "$(cgroup_version)" = 2 ]; then
      hand_down "$hierarchy"
      mkdir -p "$group"
      hand_down "$group"
    elif [ "$(stat -f -c %T "$hierarchy")" != cgroup2fs ]; then
      mkdir -p "$group"
      # A new cpuset has no CPUs, and the kernel refuses processes in it until it has some.
      if [ -e "$group/cpuset.cpus" ]; then
        cat "$hierarchy/cpuset.cpus" >"$group/cpuset.cpus"
        cat "$hierarchy/cpuset.mems" >"$group/cpuset.mems"
      fi
    fi
  done
}

hand_down() { # FOLDER
  local controller controllers
  read -ra controllers <"$1/cgroup.controllers"
  for controller in "${controllers[@]}"; do
    echo "+$controller" >"$1/cgroup.subtree_control" 2>/dev/null || true
  done
  for controller in cpu memory pids; do
    grep -qw "$controller" "$1/cgroup.subtree_control" ||
      fail 69 "cgroup v2: $1 does not hand '$controller' down. In a container, its processes must first be moved out of the root group."
  done
}

# The folders of a node's cgroup that are still there
node_cgroups() {
  local hierarchy
  for hierarchy in $(hierarchies); do
    [ ! -d "$hierarchy/bkv-node$1" ] || find "$hierarchy/bkv-node$1" -depth -type d
  done
}

try_remove_cgroup() {
  local group
  for group in $(node_cgroups "$1"); do rmdir "$group" 2>/dev/null || true; done
  [ -z "$(node_cgroups "$1")" ]
}

# rmdir fails with EBUSY until the last zombie of the cgroup is reaped.
remove_node_cgroup() { wait_until 10 try_remove_cgroup "$1" || echo "cluster: a cgroup of node$1 stays: $(node_cgroups "$1" | tail -1)" >&2; }

# processes_of_container NUMBER ID: numbers as the host sees them
processes_of_container() {
  local hierarchy=/sys/fs/cgroup
  [ "$(cgroup_version)" = 2 ] || hierarchy=/sys/fs/cgroup/pids
  find "$hierarchy/bkv-node$1" -path "*/$2*" -name cgroup.procs -exec cat {} +
}
