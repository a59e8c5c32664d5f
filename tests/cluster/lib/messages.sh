# shellcheck shell=bash
# Output for the user: lines of progress, and exits with a code of sysexits.h.

started_at=${EPOCHREALTIME/[.,]/}

# Seconds since this command began, with two decimals.
elapsed() {
  local since=$((${EPOCHREALTIME/[.,]/} - started_at))
  printf '%d.%02d' $((since / 1000000)) $((since % 1000000 / 10000))
}

say() { printf '[%6ss] %s\n' "$(elapsed)" "$*"; }

# fail CODE TEXT…: 64 bad usage, 69 something is missing, 75 try again later, 77 not allowed.
fail() {
  local code=$1
  shift
  echo "cluster: $*" >&2
  exit "$code"
}

# wait_until SECONDS COMMAND…: asks ten times a second; false once the time is over.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

# needs_root WHAT
needs_root() { [ "$(id -u)" -eq 0 ] || fail 77 "$1 needs root (namespaces, a bridge, cgroups). 'up --nodes 0' does not."; }
