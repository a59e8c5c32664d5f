# shellcheck shell=bash
# Processes of a run. Each has a record, and is ended only if the record still matches. A line is `PID START NAME`, where START is
# the kernel's start time of that process, so a process id that the kernel gave to another process since is never mistaken for ours.

# start NAME COMMAND…: in a session of its own, with a clean environment (a proxy's variables would break the cluster's own
# connections). The process writes its record before it becomes the program, so no process is without one. `enter` may hold a
# command that makes namespaces for it.
enter=()
start() {
  local name=$1 known
  shift
  known=$(record "$name")
  env -i PATH="$PATH" HOME="$dir" \
    setsid "${enter[@]}" "$BASH" "$here/lib/recorded.sh" "$dir/processes" "$name" "$@" \
    >>"$dir/log/$name.log" 2>&1 </dev/null 8>&- 9>&- &
  wait_until 10 is_recorded_anew "$name" "$known" || died "$name"
}
is_recorded_anew() { [ "$(record "$1")" != "$2" ]; }

# record NAME → "PID START" of the newest process of that name
record() { awk -v name="$1" '$3 == name { last = $1 " " $2 } END { print last }' "$dir/processes"; }

started_names() { cut -d' ' -f3 "$dir/processes" | sort -u; }

# start_of PID → its start time; false when there is none, or only a zombie
start_of() {
  local line fields
  { line=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
  read -ra fields <<<"${line##*) }"
  [[ ${fields[0]} != [ZX] ]] || return 1
  echo "${fields[19]}"
}

is_same() { [ "$(start_of "$1")" = "$2" ]; } # PID START

# alive_pid NAME → the pid, if it is still the process we started
alive_pid() {
  local pid start
  read -r pid start <<<"$(record "$1")"
  [ -n "$pid" ] && [ "${boot:-$boot_id}" = "$boot_id" ] && is_same "$pid" "$start" && echo "$pid"
}

is_alive() { alive_pid "$1" >/dev/null; }
is_ended() { ! is_alive "$1"; }

# is_ours PID: runs one of our binaries, or is still the shell that becomes one
is_ours() {
  local program
  program=$(readlink "/proc/$1/exe") || return 1
  case $program in
    "$built"/* | "$(readlink -f "$BASH")") ;;
    *) return 1 ;;
  esac
}

# end NAME: sends SIGKILL. `down` deletes everything that these processes would still write. For a node it is a power cut: NAME is
# process 1 of its PID namespace, so the kernel ends every process of the node and removes its mounts and links.
end() {
  local pid
  pid=$(alive_pid "$1") || return 0
  is_ours "$pid" || return 0
  kill -KILL "$pid" 2>/dev/null || true
  wait_until 20 is_ended "$1" || fail 70 "$1 (process $pid) does not end"
}
