# shellcheck shell=bash
# Checks that no other user can plant or swap a file that a script trusts. Scripts here run as root, read settings and keys back from folders and
# delete them, and /tmp lets everybody make a folder of any name. To be sourced. Each function prints the reason and returns 1 if a check fails.

# The caller, root and the person who called sudo may own a parent folder. In a user namespace the owner of / stands for root.
owner_is_trusted() { # UID
  case $1 in
    0 | "$EUID" | "$(stat -c %u /)") return 0 ;;
    *) [ "$EUID" -eq 0 ] && [ "$1" = "${SUDO_UID:-}" ] ;;
  esac
}

# Nobody else can add or replace an entry of FOLDER, an absolute path, or of any folder above it. What does not exist yet is fine.
folder_is_safe() { # FOLDER
  local folder=$1 owner mode target
  [ "$folder" = / ] || folder_is_safe "$(dirname "$folder")" || return 1
  [ -e "$folder" ] || [ -L "$folder" ] || return 0
  read -r owner mode < <(stat -c '%u %a' -- "$folder")
  owner_is_trusted "$owner" || { echo "$folder belongs to another user (uid $owner)" && return 1; }
  if [ -L "$folder" ]; then
    [ -e "$folder" ] || { echo "$folder is a link to nothing" && return 1; }
    target=$(readlink -- "$folder")
    case $target in /*) ;; *) target=$(dirname "$folder")/$target ;; esac
    folder_is_safe "$(realpath -ms -- "$target")"
    return
  fi
  # In a sticky folder such as /tmp an entry is safe from everybody but its owner.
  if ((8#$mode & 8#022 && !(8#$mode & 8#1000))); then
    echo "$folder is writable for other users (mode $mode)"
    return 1
  fi
}

# FOLDER does not exist yet, or is a folder of the caller that no other user can write to. It must not be a link, because the link's owner could point it
# elsewhere.
folder_is_ours() { # FOLDER
  local owner mode
  folder_is_safe "$(dirname "$1")" || return 1
  [ -e "$1" ] || [ -L "$1" ] || return 0
  read -r owner mode < <(stat -c '%u %a' -- "$1")
  if [ -L "$1" ]; then echo "$1 is a symbolic link" && return 1; fi
  [ -d "$1" ] || { echo "$1 is not a folder" && return 1; }
  [ "$owner" = "$EUID" ] || { echo "$1 belongs to another user (uid $owner)" && return 1; }
  ((!(8#$mode & 8#022))) || { echo "$1 is writable for other users (mode $mode)" && return 1; }
}

# FILE does not exist, or is a regular file of the caller that has no bit of MASK in its mode.
file_is_ours() { # FILE MASK
  local owner mode
  [ -e "$1" ] || [ -L "$1" ] || return 0
  read -r owner mode < <(stat -c '%u %a' -- "$1")
  if [ -L "$1" ] || [ ! -f "$1" ]; then echo "$1 is not a regular file" && return 1; fi
  [ "$owner" = "$EUID" ] || { echo "$1 belongs to another user (uid $owner)" && return 1; }
  ((!(8#$mode & 8#$2))) || { echo "$1 is open to other users (mode $mode)" && return 1; }
}
