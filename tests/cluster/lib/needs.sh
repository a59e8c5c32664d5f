# shellcheck shell=bash
# Debian packages that must be installed on the machine. It prints the list before it does anything; none of them starts a service.

# want COMMAND PACKAGE, into the array `missing`
want() { command -v "$1" >/dev/null || missing+=("$2"); }

needs_go() { command -v go >/dev/null || fail 69 "Go is missing (1.26 or newer): see https://go.dev/dl, then run this again."; }

needs_of_build() {
  missing=()
  want gcc gcc
  [ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
  want openssl openssl
  want flock util-linux
  python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  # These two only for nodes, but it is better to ask for them once than in the middle of a test.
  want ip iproute2
  want iptables iptables
  install_missing
  needs_go
  command -v apt-get >/dev/null || fail 69 "apt-get is missing: the parts that come from Debian can't be fetched here."
}

needs_of_nodes() {
  local command
  for command in ip iptables nsenter unshare setsid flock openssl; do
    command -v "$command" >/dev/null || fail 69 "'$command' is missing: run '$0 build', which installs what is needed."
  done
}

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

install_missing() {
  [ "${#missing[@]}" -gt 0 ] || return 0
  echo "Missing: ${missing[*]}. They come from Debian's packages:"
  echo "  apt-get install -y --no-install-recommends ${missing[*]}"
  command -v apt-get >/dev/null || fail 69 "there is no apt-get here: install the equivalents yourself, then run this again."
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || fail 77 "this user is not root and there is no sudo: ask an administrator to run the command above."
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
