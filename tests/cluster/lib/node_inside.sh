#!/usr/bin/env bash
# node_inside.sh NUMBER DIR BUILT REGION NODES: process 1 of a node. Sets up the node's mounts, starts its programs, and becomes
# `pause`, which reaps zombies. Don't call it by hand: it mounts file systems.
set -euo pipefail
number=$1 dir=$2 built=$3 region=$4 nodes=$5
folder=$dir/node$number
[ "$$" -eq 1 ] || { echo "this runs only as process 1 of a namespace" >&2; exit 64; }

wait_for() { # SECONDS COMMAND…
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "waited in vain for: $*" >&2; exit 70; }
    sleep 0.1
  done
}

own_view() {
  mount -t proc proc /proc
  echo "node$number" >/proc/sys/kernel/hostname
  # Shared, so that the kubelet sees what a container mounts below them.
  mount --bind "$folder/kubelet" /var/lib/kubelet
  mount --make-rshared /var/lib/kubelet
  mount --bind "$folder/pods" /var/log/pods
  mount --bind "$folder/containers" /var/log/containers
  mount --bind "$folder/cni-cache" /var/lib/cni
  # A restart of a machine empties /run: sockets, running tasks, the pods' addresses. All of /run is a mount, so that it depends on no
  # folder of the machine: if another process removes a folder, the mounts on it end in every namespace.
  mount -t tmpfs tmpfs /run
  mount --make-rshared /run
  mkdir /run/containerd
}

network() {
  local other
  # The host adds the link once it knows this process's id.
  wait_for 20 ip link show eth0
  ip link set lo up
  ip link set eth0 up
  ip addr add "10.200.0.1$number/24" dev eth0
  ip route add default via 10.200.0.1
  for other in $(seq 1 "$nodes"); do
    [ "$other" -eq "$number" ] || ip route add "10.244.$other.0/24" via "10.200.0.1$other"
  done
  echo 1 >/proc/sys/net/ipv4/ip_forward
  # Where the bridge filter is a module that is not loaded, services still work between nodes.
  echo 1 2>/dev/null >/proc/sys/net/bridge/bridge-nf-call-iptables || true
}

ctr() { "$built/debian/usr/bin/ctr" --address /run/containerd/containerd.sock --namespace k8s.io "$@"; }

containers() {
  local image
  containerd --config "$folder/containerd.toml" >>"$folder/containerd.log" 2>&1 &
  wait_for 30 ctr version
  for image in pause coredns probe; do
    [ -n "$(ctr images ls -q "name==localhost/$image:local")" ] || ctr images import "$built/images/$image.tar"
  done
}

own_view
network
export PATH="$built/debian/usr/bin:$built/debian/usr/sbin:$built/bin:$PATH"
containers
# Without this wait the kubelet would fail to register and then wait longer each time.
wait_for 120 test -e "$dir/api-is-ready"
kubelet --config="$folder/kubelet.yaml" --kubeconfig="$dir/certificates/node$number.conf" --root-dir=/var/lib/kubelet \
  --hostname-override="node$number" --node-ip="10.200.0.1$number" \
  --node-labels="topology.kubernetes.io/region=$region,topology.kubernetes.io/zone=${region}-a" >>"$folder/kubelet.log" 2>&1 &
kube-proxy --config="$folder/kube-proxy.yaml" >>"$folder/kube-proxy.log" 2>&1 &
exec "$built/bin/pause"
