#!/usr/bin/env bash
# Makes OCI archives of the project's images without Docker: unpacks Debian's packages, takes only what the programs load, and packs it with buildah.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
images=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../scripts/lib.sh
. "$images/../scripts/lib.sh"
# shellcheck source=lib/needs.sh
. "$images/lib/needs.sh"
# shellcheck source=lib/debs.sh
. "$images/lib/debs.sh"
# shellcheck source=lib/root.sh
. "$images/lib/root.sh"
# shellcheck source=lib/programs.sh
. "$images/lib/programs.sh"
# shellcheck source=lib/oci.sh
. "$images/lib/oci.sh"

usage() {
  cat <<'EOF'
Usage: images/build.sh [--only WHAT,…] [--bin-dir DIR] [--out DIR] [--registry NAME] [--tag TAG] [--changed]

  --only      some of operator,vault,chatd,cli,postgres,copier (default: all)
  --bin-dir   where the programs are (default: the release build)
  --out       where bkv-WHAT.oci.tar go (default: target/images)
  --registry  what the names begin with (default: localhost); the image is REGISTRY/bkv-WHAT:TAG
  --tag       (default: dev)
  --changed   leave out what is newer than its program and than these recipes

Needs root or `buildah unshare`. Packages are kept in $BKV_CACHE/debs. The same programs and packages give the same digests
($SOURCE_DATE_EPOCH, default 0, is every file's time).
EOF
}

only=operator,vault,chatd,cli,postgres,copier bin_dir='' out='' registry=localhost tag=dev changed=''
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) usage; exit 0 ;;
    --changed) changed=1; shift ;;
    --only | --bin-dir | --out | --registry | --tag)
      [ -n "${2:-}" ] || { echo "$1 wants a value; see --help" >&2; exit 64; }
      case $1 in
        --only) only=$2 ;;
        --bin-dir) bin_dir=$2 ;;
        --out) out=$2 ;;
        --registry) registry=$2 ;;
        --tag) tag=$2 ;;
      esac
      shift 2
      ;;
    *) echo "unknown argument '$1'; see --help" >&2; exit 64 ;;
  esac
done
IFS=, read -ra wanted <<<"$only"
for what in "${wanted[@]}"; do
  [ -f "$images/recipes/$what.sh" ] || { echo "no image is called '$what'; see --help" >&2; exit 64; }
done

need_tools
bin_dir=$(realpath -m "${bin_dir:-$(cargo_target --manifest-path "$images/../Cargo.toml")/release}")
out=$(realpath -m "${out:-$(cargo_target --manifest-path "$images/../Cargo.toml")/images}")
epoch=${SOURCE_DATE_EPOCH:-0}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$images/../Cargo.toml")
triple=$(uname -m)-linux-gnu
umask 022
work=$(mktemp -d "${TMPDIR:-/tmp}/bkv-images.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export BUILDAH_ISOLATION=chroot

# is_current ARCHIVE PROGRAM: true if no input is newer than the archive. It can't know which build a folder's programs are of, so each build needs its own --out.
is_current() {
  [ -e "$1" ] || return 1
  local sources=("$images")
  if [ -e "$bin_dir/$2" ]; then sources+=("$bin_dir/$2"); fi
  [ -z "$(find "${sources[@]}" -type f -newer "$1" -print -quit)" ]
}

for what in "${wanted[@]}"; do
  # Each recipe runs in its own subshell, so no variable leaks into the next recipe.
  (
    root=$work/$what/root tree=$work/$what/tree options=() packages=() entrypoint=''
    mkdir -p "$root" "$tree"
    # shellcheck source=/dev/null
    . "$images/recipes/$what.sh"
    if [ -n "$changed" ] && is_current "$out/bkv-$what.oci.tar" "${entrypoint##*/}"; then exit 0; fi
    root_base "$root"
    if [ "${#packages[@]}" -gt 0 ]; then
      debs=$(debs_fetch "${packages[@]}")
      debs_unpack "$debs" "$tree"
      fill
      debs_record "$debs" "$tree" "$root"
    else
      fill
    fi
    oci_write "$root" "$out/bkv-$what.oci.tar" "$registry/bkv-$what" "$entrypoint" "${options[@]}"
    printf '%-9s %s:%s  %s MB  %s\n' "$what" "$registry/bkv-$what" "$tag" "$(du -s --block-size=1MB --apparent-size "$root" | cut -f1)" \
      "$out/bkv-$what.oci.tar"
    rm -rf "${work:?}/$what"
  )
done
