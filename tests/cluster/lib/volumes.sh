# shellcheck shell=bash
# Volumes are folders of a node and bound to it like its disks. They can't grow. The controller manager's host-path volumes are not
# used, because they belong to root and get no fsGroup, so a pod that is not root could not write to them.

volumes_of_a_node=12

# Makes every missing volume. Empties a released volume and makes it again.
volumes() {
  local number volume name folder known
  kube get persistentvolumes -o 'jsonpath={range .items[?(@.status.phase=="Released")]}{.metadata.name}{"\n"}{end}' |
    xargs -r "$built/bin/kubectl" --kubeconfig "$dir/kubeconfig" delete persistentvolumes --timeout=30s >/dev/null
  known=$(kube get persistentvolumes -o name)
  for number in $(node_numbers); do
    for volume in $(seq 1 "$volumes_of_a_node"); do
      name=node$number-volume$volume
      grep -qx "persistentvolume/$name" <<<"$known" && continue
      folder=$dir/node$number/volumes/$volume
      rm -rf --one-file-system "$folder"
      mkdir -p "$folder"
      volume_manifest "$name" "$folder" "node$number"
    done
  done | apply_if_any
}

apply_if_any() {
  local manifests
  manifests=$(cat)
  [ -z "$manifests" ] || kube apply -f - <<<"$manifests" >/dev/null
  say "volumes: $volumes_of_a_node on each node, class standard, $(kube get persistentvolumes --no-headers 2>/dev/null | grep -c Available) are free"
}

volume_manifest() { # NAME FOLDER NODE
  cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: $1}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: standard
  local: {path: $2}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$3]}]
YAML
}
