# shellcheck shell=bash
# What every image's root has: folders, the one user, and what is taken from the unpacked packages.

user=65532

# layout_merged DIR : /bin, /lib, /lib64 and /sbin are links into /usr.
layout_merged() {
  local name
  for name in bin lib lib64 sbin; do
    mkdir -p "$1/usr/$name"
    ln -sfn "usr/$name" "$1/$name"
  done
}

# root_base ROOT : no shell in passwd either.
root_base() {
  layout_merged "$1"
  mkdir -p "$1/etc"
  install -d -m 1777 "$1/tmp"
  cat >"$1/etc/passwd" <<EOF
root:x:0:0:root:/:/usr/sbin/nologin
bkv:x:$user:$user:bkv:/:/usr/sbin/nologin
EOF
  printf 'root:x:0:\nbkv:x:%s:\n' "$user" >"$1/etc/group"
  # Without this file some resolvers ask DNS before /etc/hosts.
  echo 'hosts: files dns' >"$1/etc/nsswitch.conf"
}

# root_take PATH… : files and folders of the packages' tree, links replaced by what they point at.
root_take() {
  local path
  for path in "$@"; do
    mkdir -p "$root$(dirname "$path")"
    cp -rL "$tree$path" "$root$path"
  done
}

# root_certificates : the bundle that ca-certificates' install script would make.
root_certificates() {
  mkdir -p "$root/etc/ssl/certs"
  (cd "$tree/usr/share/ca-certificates/mozilla" && LC_ALL=C && cat -- *.crt) >"$root/etc/ssl/certs/ca-certificates.crt"
}
