#!/usr/bin/env bash
# Commit subjects have at most 72 characters. Commits up to the base are older than the rule and exempt.
set -euo pipefail
cd "$(dirname "$0")/.."
base=ad5ebe3
git rev-parse --git-dir >/dev/null 2>&1 || { echo "commit subjects: skipped (no git here)"; exit 0; }
if git merge-base --is-ancestor "$base" HEAD 2>/dev/null; then
  range=("$base..HEAD")
elif [ "$(git rev-parse --is-shallow-repository)" = true ]; then
  # The base was not fetched, so exempt commits can't be recognised. Checks only the newest commit.
  range=(-1 HEAD)
else
  echo "commit subjects: skipped (the base $base is not in this history)"
  exit 0
fi
long=$(git log --no-merges --format='%h %s' "${range[@]}" | LC_ALL=C.UTF-8 awk '{ subject = substr($0, index($0, " ") + 1) } length(subject) > 72')
[ -z "$long" ] || { printf 'Commit subjects over 72 characters (the reasons go into the body):\n%s\n' "$long" >&2; exit 1; }
echo "commit subjects: good"
