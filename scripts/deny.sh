#!/usr/bin/env bash
# cargo deny: bans, licences, sources. `deny.sh advisories` (make advisories) checks for known vulnerabilities instead. `make lint` does not, because the
# database comes from the network, and a new advisory must not fail an old commit. Run it each day where something can report its failure, and before a release.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tools="${BKV_CACHE:-$HOME/.cache/bkv}/tools/cargo-deny-$version"
if ! [ -x "$tools/bin/cargo-deny" ]; then
  echo "Building cargo-deny $version (once)"
  CARGO_TARGET_DIR="$tools/target" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install --quiet --locked --root "$tools" "cargo-deny@$version"
  rm -rf "$tools/target"
fi
case ${1:-} in
  '') "$tools/bin/cargo-deny" --locked check bans licenses sources ;;
  advisories) "$tools/bin/cargo-deny" --locked check advisories ;;
  *) echo "usage: deny.sh [advisories]" >&2; exit 64 ;;
esac
