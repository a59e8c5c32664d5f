#!/usr/bin/env bash
# Installs what the project needs and this machine lacks, from Debian's packages. Prints the list before it does anything.
set -euo pipefail

missing=()
have_file() { compgen -G "$1" >/dev/null; }
have_file '/usr/lib/softhsm/libsofthsm2.so'          || missing+=(softhsm2)
have_file '/usr/lib/postgresql/*/bin/postgres'       || missing+=(postgresql)
have_file '/usr/include/openssl/ssl.h'               || missing+=(libssl-dev)
have_file '/usr/sbin/apache2'                        || missing+=(apache2-bin)
command -v openssl >/dev/null                        || missing+=(openssl)
have_file '/usr/lib/llvm-*/lib/libclang.so*'         || missing+=(libclang-dev)
command -v cc >/dev/null                             || missing+=(build-essential)
command -v cmake >/dev/null                          || missing+=(cmake)
command -v pkg-config >/dev/null                     || missing+=(pkg-config)
command -v shellcheck >/dev/null                     || missing+=(shellcheck)
command -v python3 >/dev/null && python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v restic >/dev/null                         || missing+=(restic)
command -v rclone >/dev/null                         || missing+=(rclone)
command -v borg >/dev/null                           || missing+=(borgbackup)
python3 -c 'import yaml' 2>/dev/null || /usr/bin/python3 -c 'import yaml' 2>/dev/null || missing+=(python3-yaml)

if ! command -v cargo >/dev/null; then
  echo "Rust is missing. Install it with rustup (https://rustup.rs), then run this again." >&2
  exit 69
fi
[ "${#missing[@]}" -eq 0 ] && exit 0

echo "Missing: ${missing[*]}. They come from Debian's packages:"
if [ "$(id -u)" -eq 0 ]; then as_root=(); else as_root=(sudo); fi
echo "  ${as_root[*]:+${as_root[*]} }apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
  echo "This machine has no apt-get. Install the equivalents, then run this again." >&2
  exit 69
fi
if [ "${#as_root[@]}" -gt 0 ] && ! command -v sudo >/dev/null; then
  echo "This user is not root and there is no sudo. Ask an administrator to run the command above." >&2
  exit 77
fi
# The distribution would start a database of its own at install; the project starts what it needs by itself.
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
