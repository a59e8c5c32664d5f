# shellcheck shell=bash
# One bridge on the host, to which a pair of links connects each node's network namespace. The namespaces have no names: they end
# with their node's processes, and their links too. The bridge's alias is the run's folder, so that `down` of another run does not
# remove it.

bridge=bkv0
host_address=10.200.0.1
api_service=10.96.0.1
services=10.96.0.0/16

node_numbers() { seq 1 "$nodes"; }
node_address() { echo "10.200.0.1$1"; }
node_pods() { echo "10.244.$1.0/24"; }
node_link() { echo "bkv-node$1"; }

# A bridge without an alias belongs to an `up` that was killed before it set the alias. That `up` left a mark.
is_our_bridge() {
  local alias
  alias=$(cat "/sys/class/net/$bridge/ifalias" 2>/dev/null) || return 1
  [ "$alias" = "$dir" ] || { [ -z "$alias" ] && [ -e "$dir/makes-bridge" ]; }
}

require_no_other_cluster() {
  if [ -e "/sys/class/net/$bridge" ]; then
    fail 75 "another cluster with nodes is up in $(cat "/sys/class/net/$bridge/ifalias"): there can be one on a machine."
  fi
  local taken
  taken=$(ip -4 route show | grep -E '^10\.(96|200|244)\.' || true)
  [ -z "$taken" ] || fail 69 "this machine has routes that the cluster would need: $taken"
}

make_bridge() {
  # Hardware addresses are fixed. A bridge would take the lowest of its links' and change it when a node stops or starts. The other
  # nodes would then send to the old address for half a minute and not reach the API server.
  touch "$dir/makes-bridge"
  if ! ip link add "$bridge" address 02:00:0a:c8:00:01 type bridge; then
    rm "$dir/makes-bridge"
    fail 69 "no bridge can be made here; 'up --nodes 0' works without one."
  fi
  ip link set "$bridge" alias "$dir"
  rm "$dir/makes-bridge"
  ip addr add "$host_address/24" dev "$bridge"
  ip link set "$bridge" up
}

# plug_in NUMBER PID: gives the namespace of PID its eth0
plug_in() {
  ip link add "$(node_link "$1")" type veth peer name eth0 address "02:00:0a:c8:00:1$1" netns "$2" &&
    ip link set "$(node_link "$1")" master "$bridge" up &&
    ip route replace "$(node_pods "$1")" via "$(node_address "$1")"
}

is_plugged_in() { [ "$(cat "/sys/class/net/$(node_link "$1")/operstate" 2>/dev/null)" = up ]; }
is_unplugged() { [ ! -e "/sys/class/net/$(node_link "$1")" ]; }

# The host reaches service addresses through the rules of the first node that runs.
route_services() {
  local number
  for number in $(node_numbers); do
    if is_plugged_in "$number"; then
      ip route replace "$services" via "$(node_address "$number")"
      return 0
    fi
  done
  ip route del "$services" 2>/dev/null || true
}

remove_links() {
  local number
  for number in 1 2 3; do
    is_unplugged "$number" || ip link del "$(node_link "$number")" 2>/dev/null || true
  done
}

# The kernel removes the bridge's routes with it.
remove_bridge() { ip link del "$bridge"; }
