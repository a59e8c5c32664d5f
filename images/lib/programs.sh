# shellcheck shell=bash
# Our own programs and the shared libraries that they, or modules, load.

# program_take NAME : a program of the build, without symbols, at /usr/bin.
program_take() {
  if ! [ -x "$bin_dir/$1" ]; then
    echo "$bin_dir/$1 is missing: run \`make build\` first, or name another folder by --bin-dir." >&2
    exit 66
  fi
  strip --strip-all -o "$root/usr/bin/$1" "$bin_dir/$1"
  chmod 755 "$root/usr/bin/$1"
}

# libraries_close FILE… : adds to the root the loader and every library that these files of the root need, taken from the packages' tree. The
# tree's own loader resolves them, so a program that was built against a newer C library fails here and not in a cluster.
libraries_close() {
  local loader list path file
  loader=$(readelf --program-headers "$root$1" | sed -n 's/.*interpreter: \(.*\)]/\1/p')
  loader=${loader:-$(cd "$tree" && echo /lib64/ld-linux-*)}
  local real=/usr/lib/$triple/${loader##*/}
  for file in "$@"; do
    if ! list=$("$tree$real" --inhibit-cache --library-path "$tree/usr/lib/$triple" --list "$root$file" 2>&1); then
      printf '%s does not load on Debian 12:\n%s\n' "$file" "$list" >&2
      exit 65
    fi
    while read -r path; do
      case $path in
        "$tree"/*) [ -e "$root${path#"$tree"}" ] || root_take "${path#"$tree"}" ;;
        *)
          echo "$file loads $path: the package that it is from must be in the recipe's list." >&2
          exit 65
          ;;
      esac
    done < <(sed -n 's/^.* => \(.*\) (0x.*$/\1/p' <<<"$list")
  done
  # The path of the loader that is recorded in the programs.
  [ -e "$root$loader" ] || install -D -m 755 "$tree$real" "$root$loader"
  # Only under that name, although libraries also need it.
  rm -f "$root$real"
}

# copier_build FILE : the copier without any shared library. The flags go to this crate's link only; the rest of the workspace does not know them.
copier_build() {
  local target
  target=$(cargo_target --manifest-path "$images/../Cargo.toml")/copier
  (cd "$images/.." && cargo --locked rustc --quiet --release -j"${JOBS:-2}" -p bkv-copier --bin bkv-copier --target-dir "$target" -- \
    -C target-feature=+crt-static -C relocation-model=static -C panic=abort --remap-path-prefix "$PWD=." --remap-path-prefix "$HOME=~")
  if readelf --dynamic "$target/release/bkv-copier" | grep -q 'Dynamic section'; then
    echo "the copier is not static: it would not run in an image without a C library" >&2
    exit 70
  fi
  strip --strip-all -o "$1" "$target/release/bkv-copier"
  chmod 755 "$1"
}
