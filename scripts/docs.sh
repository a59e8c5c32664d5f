#!/usr/bin/env bash
# The pages below docs/ as a book with search, in target/book. `--check` only checks links, code blocks and what runbooks quote, without a network and in a few seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 scripts/check_docs.py
python3 scripts/check_runbooks.py
[ "${1:-}" != --check ] || exit 0
version=0.5.4
tools="${BKV_CACHE:-$HOME/.cache/bkv}/tools/mdbook-$version"
if ! [ -x "$tools/bin/mdbook" ]; then
  echo "Building mdBook $version (once)"
  CARGO_TARGET_DIR="$tools/target" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    cargo install --quiet --locked --root "$tools" "mdbook@$version" --no-default-features --features search
  rm -rf "$tools/target"
fi
"$tools/bin/mdbook" build docs
echo "The book: target/book/index.html"
