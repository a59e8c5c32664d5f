#!/usr/bin/env bash
# Builds the images twice and checks them: equal digests, the right user, no shell, no set-user-id file. Every program starts in its root, the token
# module makes a token, and Postgres passes its check. Prints a table of sizes.
set -euo pipefail
cd "$(dirname "$0")"
only=operator,vault,chatd,cli,postgres,copier build=()
while [ $# -gt 0 ]; do
  case $1:${2:+value} in
    --only:value) only=$2; shift 2 ;;
    --bin-dir:value) build=(--bin-dir "$(realpath "$2")"); shift 2 ;;
    *) echo "Usage: images/check.sh [--only WHAT,…] [--bin-dir DIR]" >&2; exit 64 ;;
  esac
done
IFS=, read -ra wanted <<<"$only"
for tool in softhsm2-util psql openssl; do
  command -v "$tool" >/dev/null || { echo "missing: $tool (scripts/needs.sh; softhsm2, postgresql-client, openssl)" >&2; exit 69; }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/bkv-images-check.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
ok() { echo "  ok  $1"; }
as_user() { chroot --userspec=65532:65532 "$@"; }

echo "Building twice"
./build.sh --only "$only" "${build[@]}" --out "$work/first" >/dev/null
# The second build has no package cache and another temporary folder. Neither may change the digest.
mkdir "$work/elsewhere"
BKV_CACHE=/dev/null TMPDIR=$work/elsewhere ./build.sh --only "$only" "${build[@]}" --out "$work/second" >/dev/null
[ -z "$(ls -A "$work/elsewhere")" ] || { echo "build.sh left something behind: $(ls "$work/elsewhere")" >&2; exit 1; }

table=()
for what in "${wanted[@]}"; do
  echo "$what"
  archive=$work/first/bkv-$what.oci.tar root=$work/root/$what
  mkdir -p "$root"
  chmod 755 "$work" "$work/root"
  one=$(./archive.py digest "$archive") two=$(./archive.py digest "$work/second/bkv-$what.oci.tar")
  [ "$one" = "$two" ] || { echo "$what: $one, and the second time $two" >&2; exit 1; }
  ok "the same digest twice"
  shell=()
  [ "$what" = postgres ] && shell=(--shell-allowed)
  read -r entrypoint size packed digest < <(./archive.py inspect "$archive" "$root" "${shell[@]}") || exit 1
  if [ "$what" = postgres ]; then has='a shell, as it must'; else has='no shell'; fi
  ok "user 65532, nothing set-user-id, all root's, $has"
  table+=("$(printf '%-9s %8s %8s  %s' "$what" "$size" "$packed" "$digest")")
  if [ "$what" = postgres ]; then
    postgres/check.sh "$root"
    continue
  fi
  as_user "$root" "$entrypoint" --version >"$work/version"
  as_user "$root" "$entrypoint" --help >/dev/null
  ok "starts: $(cat "$work/version")"
  if [ "$what" = vault ]; then
    # The image has no token tool. The machine's softhsm2-util, copied into a copy of the root, loads the image's module and libraries.
    cp -r "$root" "$work/root/token"
    install -D "$(command -v softhsm2-util)" "$work/root/token/util"
    # Adds the libraries that the tool needs. Files of the image are not replaced.
    while read -r library; do
      [ -e "$work/root/token$library" ] || cp -L "$library" "$work/root/token$library"
    done < <(ldd "$work/root/token/util" | sed -n 's/^.* => \(.*\) (0x.*$/\1/p')
    echo 'directories.tokendir = /tokens' >"$work/root/token/softhsm2.conf"
    install -d -o 65532 "$work/root/token/tokens"
    SOFTHSM2_CONF=/softhsm2.conf as_user "$work/root/token" /util --module /usr/lib/softhsm/libsofthsm2.so --init-token --free --label check \
      --so-pin 12345678 --pin 12345678 >/dev/null
    [ -n "$(ls "$work/root/token/tokens")" ] || { echo "the module made no token" >&2; exit 1; }
    ok "its PKCS#11 module makes a token"
  fi
  if [ "$what" = copier ]; then
    # The root contains only the copier and the files to copy.
    bare=$work/root/bare
    install -d -o 65532 "$bare/hsm"
    install -D "$root/copier" "$bare/copier"
    install -D -m 644 "$root/etc/passwd" "$bare/opt/hsm/lib.so"
    as_user "$bare" /copier copy --to /hsm /opt/hsm >/dev/null
    cmp "$bare/opt/hsm/lib.so" "$bare/hsm/opt/hsm/lib.so"
    code=0
    as_user "$bare" /copier copy --to /hsm /opt/none 2>/dev/null || code=$?
    [ "$code" -eq 66 ] || { echo "a missing path ended with $code" >&2; exit 1; }
    ok "copies in a root that has nothing else"
  fi
done
printf '\n%-9s %8s %8s  %s\n' image 'MB' 'packed' digest
printf '%s\n' "${table[@]}"
