#!/usr/bin/env bash
# No command of `cluster` and no call of kind/issuer.sh trusts what another user laid under the folder's name. Needs root, since it makes folders of
# another uid. Two seconds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cluster=$here/bin/cluster issuer=$here/../../kind/issuer.sh
[ "$(id -u)" -eq 0 ] || { echo "ownership_test: skipped (needs root to make files of another user)"; exit 0; }
unset SUDO_UID
scratch=$(mktemp -d "${TMPDIR:-/tmp}/bkv-ownership.XXXXXX")
chmod 0755 "$scratch"
trap 'rm -rf "$scratch"' EXIT
attacker=65534

broken() { echo "ownership_test: $*" >&2; exit 1; }
# ends_with CODE COMMAND…
ends_with() {
  local want=$1 code=0
  shift
  "$@" >"$scratch/out" 2>&1 || code=$?
  [ "$code" -eq "$want" ] || broken "'${*#"$here"/}' ended with $code and not $want: $(cat "$scratch/out")"
  [ ! -e "$scratch/executed" ] || broken "'${*#"$here"/}' ran the attacker's settings"
}
commands=(up 'up --nodes 0' down status kubeconfig env 'kubectl get nodes' 'helm list' 'load x.tar' volumes 'node down 1' 'node up 1' 'partition 1'
  'heal 1' 'pause pod' 'resume pod' 'kill pod')
all_refuse() { # FOLDER
  local command words
  for command in "${commands[@]}"; do
    read -ra words <<<"$command"
    ends_with 77 "$cluster" --dir "$1" "${words[@]}"
  done
  [ -e "$1" ] || broken "$1 was removed"
}
settings() { # FOLDER
  printf 'touch %s/executed\nnodes=0\nbuilt=%s\nboot=%s\n' "$scratch" "$1" "$(</proc/sys/kernel/random/boot_id)" >"$1/settings"
}

# The folder is another user's, without and with settings.
mkdir "$scratch/theirs"
chown "$attacker" "$scratch/theirs"
all_refuse "$scratch/theirs"
settings "$scratch/theirs"
chown "$attacker" "$scratch/theirs/settings"
all_refuse "$scratch/theirs"
# Ours, but everybody may write.
mkdir -m 0777 "$scratch/open"
settings "$scratch/open"
all_refuse "$scratch/open"
# Ours, but a file in it is the attacker's.
mkdir -m 0700 "$scratch/mixed"
settings "$scratch/mixed"
chown "$attacker" "$scratch/mixed/settings"
all_refuse "$scratch/mixed"
# A link of the attacker to a folder of ours, as the folder and on the way to it.
mkdir -m 0700 "$scratch/ours" "$scratch/ours/run"
settings "$scratch/ours/run"
mkdir -m 1777 "$scratch/tmp"
ln -s "$scratch/ours/run" "$scratch/tmp/link"
ln -s "$scratch/ours" "$scratch/tmp/way"
chown -h "$attacker" "$scratch/tmp/link" "$scratch/tmp/way"
all_refuse "$scratch/tmp/link"
all_refuse "$scratch/tmp/way/run"
# A parent folder where everybody may swap entries.
mkdir -m 0777 "$scratch/shared"
mkdir -m 0700 "$scratch/shared/run"
all_refuse "$scratch/shared/run"

# Our own settings are data: nothing in them is run, and a line that `up` never writes is an error.
ends_with 70 "$cluster" --dir "$scratch/ours/run" status
# shellcheck disable=SC2016 # the substitution must reach the file
printf 'nodes=$(touch %s/executed)\nbuilt=/x\nboot=%s\n' "$scratch" "$(</proc/sys/kernel/random/boot_id)" >"$scratch/ours/run/settings"
ends_with 70 "$cluster" --dir "$scratch/ours/run" status
# A folder that does not exist is no ownership error.
ends_with 69 "$cluster" --dir "$scratch/nothing" status

# The issuer's key: another user who knows it could sign tokens for every account.
ends_with 0 "$issuer" configmap "$scratch/issuer"
ends_with 0 "$issuer" configmap "$scratch/issuer"
ends_with 0 "$issuer" token "$scratch/issuer" alice
issuer_refuses() {
  ends_with 77 "$issuer" configmap "$1"
  ends_with 77 "$issuer" token "$1" alice
}
issuer_refuses "$scratch/theirs"
issuer_refuses "$scratch/open"
cp -r "$scratch/issuer" "$scratch/laid"
chown "$attacker" "$scratch/laid/key.pem"
issuer_refuses "$scratch/laid"
chown root "$scratch/laid/key.pem"
chmod 0640 "$scratch/laid/key.pem"
issuer_refuses "$scratch/laid"
echo "ownership_test: passed"
