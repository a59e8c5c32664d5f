#!/usr/bin/env bash
# cargo deny: bans, licences, sources. Advisories are not checked here: their database comes from the network, and a new one must
# not fail an old commit. Run `cargo deny check advisories` before a release.
set -euo pipefail
cd "$(dirname "$0")/.."
version=0.20.2
tools="${BKV_CACHE:-$HOME/.cache/bkv}/tools/cargo-deny-$version"
if ! [ -x "$tools/bin/cargo-deny" ]; then
  echo "Building cargo-deny $version (once)"
  CARGO_TARGET_DIR="$tools/target" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install --quiet --locked --root "$tools" "cargo-deny@$version"
  rm -rf "$tools/target"
fi
"$tools/bin/cargo-deny" --locked check bans licenses sources
