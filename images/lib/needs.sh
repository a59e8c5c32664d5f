# shellcheck shell=bash
# What making images needs. Sourced by build.sh; the rest of the project's needs are scripts/needs.sh's.

# Reports what is missing and exits, or installs it as scripts/needs.sh does.
need_tools() {
  local missing=()
  command -v buildah >/dev/null || missing+=(buildah)
  command -v strip >/dev/null   || missing+=(binutils)
  command -v python3 >/dev/null || missing+=(python3)
  if ! grep -qs '^VERSION_CODENAME=bookworm$' /etc/os-release || ! command -v apt-get >/dev/null; then
    echo "Images are made of Debian 12's packages, by the apt-get of a Debian 12: run this on one." >&2
    exit 69
  fi
  if [ "$(id -u)" -ne 0 ]; then
    cat >&2 <<'EOF'
Making images needs root, or a user namespace in which one is root. Without root:
  apt-get install buildah uidmap     # as root, with a line for this user in /etc/subuid and /etc/subgid
  buildah unshare images/build.sh    # after `make build`
EOF
    exit 77
  fi
  [ "${#missing[@]}" -eq 0 ] && return
  echo "Missing: ${missing[*]}. They come from Debian's packages:"
  echo "  apt-get install -y --no-install-recommends ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}
