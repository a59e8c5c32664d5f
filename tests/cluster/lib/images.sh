# shellcheck shell=bash
# Loads images from archives, because there is no registry and pods can't reach any network outside the cluster.

load() { # ARCHIVE…
  local archive number pids=() pid failed=0
  [ "$#" -gt 0 ] || fail 64 "which archives? (OCI or docker, as 'buildah' and 'docker save' write them)"
  for archive in "$@"; do [ -r "$archive" ] || fail 69 "$archive can't be read"; done
  for number in $(node_numbers); do
    is_alive "node$number" || { echo "cluster: node$number is down and gets nothing: load again once it is up" >&2; continue; }
    for archive in "$@"; do ctr_in_node "$number" images import "$(readlink -f "$archive")" | sed "s/^/node$number: /"; done &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  [ "$failed" -eq 0 ] || fail 70 "an image was not loaded everywhere"
}
