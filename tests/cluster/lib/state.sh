# shellcheck shell=bash
# The folder of one run: everything lies below it, and `settings` marks it as ours.

boot_id=$(</proc/sys/kernel/random/boot_id)

# Takes the lock of the folder on descriptor 9; it is let go when this command ends, however it ends.
lock_state() { # SECONDS to wait
  [ -e "$dir/lock" ] || return 1
  exec 9<>"$dir/lock"
  flock -w "$1" 9 || fail 75 "another command is at work on $dir"
  # It may have waited for a `down`, which took the folder away.
  [ "$dir/lock" -ef /proc/self/fd/9 ]
}

new_state() { # NODES
  if [ -e "$dir/settings" ]; then
    fail 75 "a cluster is up in $dir (or was left there): '$0 --dir $dir down' takes it away."
  fi
  mkdir -p "$dir"
  [ -z "$(ls -A "$dir")" ] || fail 75 "$dir holds something else: choose another --dir (everything in it is deleted by 'down')."
  # The mark first: from here on `down` may and must clean up.
  (
    set -o noclobber
    printf 'nodes=%d\nbuilt=%q\nboot=%s\n' "$1" "$built" "$boot_id" >"$dir/settings"
  ) 2>/dev/null || fail 75 "another 'up' took $dir just now."
  touch "$dir/lock" "$dir/processes" "$dir/made-folders"
  mkdir "$dir/log" "$dir/certificates"
  chmod 0711 "$dir"
  lock_state 5
}

# Sets `nodes`, `built` (of that run, whatever the sources are by now) and `boot`.
read_state() {
  [ -e "$dir/settings" ] || fail 69 "no cluster in $dir: '$0 up' first."
  # shellcheck source=/dev/null # written by new_state
  source "$dir/settings"
}

kube() { "$built/bin/kubectl" --kubeconfig "$dir/kubeconfig" --cache-dir "$dir/kubectl-cache" "$@"; }

is_up() { [ -e "$dir/processes" ] && is_alive kube-apiserver; }
require_up() {
  read_state
  is_up || fail 69 "the cluster in $dir is not up: see '$0 --dir $dir status'."
}

# require_node WORD: 1..nodes, or the command ends
require_node() {
  if [[ ! ${1:-} =~ ^[1-3]$ ]] || [ "$1" -gt "$nodes" ]; then fail 64 "which node? 1 to $nodes"; fi
}
