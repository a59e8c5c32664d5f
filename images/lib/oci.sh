# shellcheck shell=bash
# Makes an OCI archive of a root, without a daemon, network or clock: the same root gives the same digest.

# oci_write ROOT ARCHIVE NAME ENTRYPOINT [BUILDAH CONFIG OPTION…]
oci_write() {
  local from=$1 archive=$2 name=$3 entrypoint=$4 container
  shift 4
  # Set the times of folders and files, because the layer contains them.
  find "$from" -exec touch --no-dereference --date="@$epoch" {} +
  container=$(buildah_here from scratch)
  buildah_here copy --quiet "$container" "$from" / >/dev/null
  buildah_here config --user "$user:$user" --entrypoint "[\"$entrypoint\"]" --workingdir / \
    --label org.opencontainers.image.title="${name##*/}" --label org.opencontainers.image.licenses=Apache-2.0 \
    --label org.opencontainers.image.version="$version" "$@" "$container"
  mkdir -p "$(dirname "$archive")"
  rm -f "$archive.partial"
  buildah_here commit --quiet --timestamp "$epoch" --rm "$container" "oci-archive:$archive.partial:$name:$tag" >/dev/null
  mv "$archive.partial" "$archive"
}

buildah_here() {
  buildah --root "$work/storage" --runroot "$work/run" --storage-driver vfs "$@"
}
