# shellcheck shell=bash
# Debian packages: fetched by name through apt, which checks their signatures, and unpacked. Nothing is installed and no script of theirs runs.

# debs_fetch PACKAGE… : prints the folder that holds exactly these packages at their newest versions. A folder in the cache is named after the
# names, versions and hashes, so an update makes another one; the older ones of the same names are dropped.
debs_fetch() {
  local wanted names key folder cache=${BKV_CACHE:-$HOME/.cache/bkv}/debs
  wanted=$(apt-get download --print-uris "$@" 2>/dev/null) || {
    echo "apt does not know all of: $* — updating its lists" >&2
    apt-get update -qq >&2
    wanted=$(apt-get download --print-uris "$@")
  }
  # Leaves out the mirror's address, because it can differ between machines.
  wanted=$(awk '{print $2, $4}' <<<"$wanted" | sort)
  names=$(printf '%s\n' "$@" | sort | sha256sum | cut -c1-12)
  key=$names-$(sha256sum <<<"$wanted" | cut -c1-12)
  if ! mkdir -p "$cache" 2>/dev/null || ! [ -w "$cache" ]; then
    cache=$work/debs
    mkdir -p "$cache"
  fi
  folder=$cache/$key
  if ! [ -d "$folder" ]; then
    # Fetches into a temporary folder and renames it, so an interrupted or concurrent fetch leaves no partial folder.
    local beside
    beside=$(mktemp -d "$cache/.fetch.XXXXXX")
    (cd "$beside" && apt-get -qq -o APT::Sandbox::User=root download "$@" >&2)
    find "$cache" -maxdepth 1 -name "$names-*" -exec rm -rf {} +
    mv -T "$beside" "$folder" 2>/dev/null || rm -rf "$beside"
  fi
  # The cache may be shared or old, so every package is compared with the hash of the signed index before it is unpacked.
  local file hash
  while read -r file hash; do
    echo "${hash#SHA256:}  $folder/$file" | sha256sum --check --status || {
      echo "$folder/$file does not have the checksum of Debian's index. Remove the folder and run this again." >&2
      exit 65
    }
  done <<<"$wanted"
  printf '%s\n' "$folder"
}

# debs_unpack FOLDER TREE : unpacks all packages into a tree with merged /usr, as Debian 12 has it.
debs_unpack() {
  local deb
  layout_merged "$2"
  for deb in "$1"/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -f - -C "$2"
  done
}

# debs_record FOLDER TREE ROOT : records the packages where scanners look for them, as distroless images do, and adds the files that the licences require.
debs_record() {
  local deb name
  mkdir -p "$3/var/lib/dpkg/status.d"
  for deb in "$1"/*.deb; do
    name=$(dpkg-deb --field "$deb" Package)
    dpkg-deb --field "$deb" >"$3/var/lib/dpkg/status.d/$name"
    if [ -e "$2/usr/share/doc/$name/copyright" ]; then
      install -D -m 644 "$2/usr/share/doc/$name/copyright" "$3/usr/share/doc/$name/copyright"
    fi
  done
}
