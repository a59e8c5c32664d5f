#!/usr/bin/env bash
# Checks every shell program of the repository, each with the parts that it sources. A part alone would only report variables of its program.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -d '' -t files < <(git ls-files -z)
programs=()
for file in "${files[@]}"; do
  if [ -f "$file" ] && head -n1 -- "$file" | grep -aqE '^#!.*[/ ](ba)?sh( |$)'; then programs+=("$file"); fi
done
shellcheck --external-sources "${programs[@]}"
echo "shellcheck: ${#programs[@]} programs"
