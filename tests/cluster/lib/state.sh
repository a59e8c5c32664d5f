# shellcheck shell=bash
# The folder of one run. It contains everything of the run, and the file `settings` marks it as a run's folder.

boot_id=$(</proc/sys/kernel/random/boot_id)

# Never below /tmp under a fixed name: another user could make that folder first. Nodes can't use /run, so root gets a folder elsewhere.
if [ "$EUID" -eq 0 ]; then default_dir=/var/lib/bkv-cluster; else default_dir=${XDG_RUNTIME_DIR:-$cache}/bkv-cluster; fi

# Runs before anything in the folder is read, run or removed. A user who owns the folder or a file in it could choose the programs that we run, the
# processes that we end and the folders that we delete. Also makes `dir` the path that the kernel shows in its list of mounts.
require_our_folder() {
  local file why
  dir=$(realpath -ms -- "$dir")
  why=$(folder_is_ours "$dir") || fail 77 "$why: choose another --dir, or remove it yourself."
  dir=$(realpath -m -- "$dir")
  for file in settings lock processes made-folders; do
    why=$(file_is_ours "$dir/$file" 022) || fail 77 "$why: choose another --dir, or remove it yourself."
  done
}

# Takes the lock of the folder on descriptor 9. The kernel releases it when this command ends.
lock_state() { # SECONDS to wait
  [ -e "$dir/lock" ] || return 1
  exec 9<>"$dir/lock"
  flock -w "$1" 9 || fail 75 "another command is at work on $dir"
  # A `down` may have deleted the folder while this command waited for the lock.
  [ "$dir/lock" -ef /proc/self/fd/9 ]
}

new_state() { # NODES
  if [ -e "$dir/settings" ]; then
    fail 75 "a cluster is up in $dir (or was left there): '$0 --dir $dir down' takes it away."
  fi
  mkdir -p "$(dirname "$dir")"
  mkdir -m 0700 "$dir" 2>/dev/null || true
  # Checks again, because another user could have made the folder in the meantime.
  require_our_folder
  [ -z "$(ls -A "$dir")" ] || fail 75 "$dir holds something else: choose another --dir (everything in it is deleted by 'down')."
  # Writes the mark first, so that `down` cleans up whatever follows.
  (
    set -o noclobber
    printf 'nodes=%d\nbuilt=%s\nboot=%s\n' "$1" "$built" "$boot_id" >"$dir/settings"
  ) 2>/dev/null || fail 75 "another 'up' took $dir just now."
  touch "$dir/lock" "$dir/processes" "$dir/made-folders"
  mkdir "$dir/log" "$dir/certificates"
  chmod 0711 "$dir"
  lock_state 5
}

# Sets `nodes`, `built` (of that run, also if the sources have changed since) and `boot`. The file is data and is never run.
read_state() {
  local key value
  [ -e "$dir/settings" ] || fail 69 "no cluster in $dir: '$0 up' first."
  nodes='' built='' boot=''
  while IFS='=' read -r key value; do
    case $key in
      nodes) nodes=$value ;;
      built) built=$value ;;
      boot) boot=$value ;;
      *) fail 70 "$dir/settings has an unknown line: $key" ;;
    esac
  done <"$dir/settings"
  [[ $nodes =~ ^[0-3]$ && $built == /* && $boot =~ ^[0-9a-f-]{36}$ ]] || fail 70 "$dir/settings is not what 'up' writes."
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
