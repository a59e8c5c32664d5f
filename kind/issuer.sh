#!/usr/bin/env bash
# A token issuer for trials: an Ed25519 key in a folder. An attacker who has the key can sign a token for any account. So you must own the folder,
# no other user may write to it, and no other user may read the key. Otherwise the script exits with 77 and reads nothing.
# Usage: kind/issuer.sh configmap DIR            makes the key if there is none; prints its public part as the ConfigMap `demo-issuer`, YAML
#        kind/issuer.sh token DIR SUBJECT [TTL]  prints tokens for `bkv --token`, valid for TTL seconds (default 600; vaults accept no token longer), for the default audiences
#                                                of a resource: bkv-chatd, bkv-vault
set -euo pipefail
usage() { sed -n '4,6s/^# //p' "$0" >&2; exit 64; }
command -v openssl >/dev/null || { echo "missing: openssl" >&2; exit 69; }
[ $# -ge 2 ] || usage
issuer=https://issuer.bkv.localhost dir=$(realpath -ms -- "$2")
# shellcheck source-path=SCRIPTDIR source=../scripts/ownership.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../scripts/ownership.sh"
refuse() { echo "$1: name another folder" >&2; exit 77; }
require_ours() { why=$(folder_is_ours "$dir" && file_is_ours "$dir/key.pem" 077) || refuse "$why"; }
require_ours

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
# The last 32 bytes of the DER are the key itself.
public() { openssl pkey -in "$dir/key.pem" -pubout -outform DER | tail -c 32; }
key_id() { public | head -c 9 | base64url; }

case $1 in
  configmap)
    mkdir -p "$(dirname "$dir")"
    mkdir -m 0700 "$dir" 2>/dev/null || true
    # Checks again, because an attacker could have made the folder in the meantime.
    require_ours
    [ -e "$dir/key.pem" ] || (umask 077 && openssl genpkey -algorithm ed25519 -out "$dir/key.pem")
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: demo-issuer}\ndata:\n  jwks.json: |\n'
    printf '    {"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "%s", "x": "%s"}]}\n' "$(key_id)" "$(public | base64url)"
    ;;
  token)
    [ $# -ge 3 ] || usage
    case $3 in *[!A-Za-z0-9._@-]*) echo "a subject of letters, digits and . _ @ -" >&2; exit 64 ;; esac
    [ -e "$dir/key.pem" ] || { echo "$dir/key.pem is not there: run '$0 configmap $dir' first" >&2; exit 66; }
    now=$(date +%s) work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    sign() {
      printf '%s.%s' "$(printf '{"alg":"EdDSA","typ":"JWT","kid":"%s"}' "$(key_id)" | base64url)" \
        "$(printf '{"iss":"%s","sub":"%s","aud":"%s","iat":%d,"nbf":%d,"exp":%d}' "$issuer" "$2" "$1" "$now" "$now" "$((now + $3))" | base64url)" >"$work/input"
      printf '%s.%s' "$(cat "$work/input")" "$(openssl pkeyutl -sign -inkey "$dir/key.pem" -rawin -in "$work/input" | base64url)"
    }
    printf '{"chatd": "%s", "vault": "%s"}\n' "$(sign bkv-chatd "$3" "${4:-600}")" "$(sign bkv-vault "$3" "${4:-600}")"
    ;;
  *) usage ;;
esac
