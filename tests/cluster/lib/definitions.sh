# shellcheck shell=bash
# Resource definitions of other projects, of which the operator makes objects: the real ones, from their Go modules. They are in the cache and not in
# this repository, because they are large and the text of others.

# MODULE@VERSION, its digest as a go.sum has it, the folder in it, and the files (patterns with blanks between).
definition_sources=(
  'github.com/cert-manager/cert-manager@v1.21.2 h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68= deploy/crds cert-manager.io_*.yaml'
  # The standard channel. 1.7 asks for a newer Go than Kubernetes does.
  'sigs.k8s.io/gateway-api@v1.6.3 h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc= config/crd/standard *_httproutes.yaml *_gateways.yaml *_backendtlspolicies.yaml'
  'github.com/prometheus-operator/prometheus-operator@v0.85.0 h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s= example/prometheus-operator-crd *_podmonitors.yaml *_prometheusrules.yaml'
)

definitions_folder() {
  printf '%s/cluster/definitions-%.12s' "$cache" "$(printf '%s\n' "${definition_sources[@]}" | sha256sum)"
}

# Prints the folder. Fetches the definitions first if they are missing. Progress goes to standard error.
definitions() {
  local folder half source module digest inside files
  folder=$(definitions_folder)
  if [ ! -e "$folder" ]; then
    needs_go
    lock_of_cache definitions
  fi
  if [ ! -e "$folder" ]; then
    half=$(mktemp -d "$cache/cluster/half.XXXXXX")
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$half'" EXIT
    for source in "${definition_sources[@]}"; do
      read -r module digest inside files <<<"$source"
      say "Go module: $module, for its resource definitions" >&2
      fetch_definitions "$half" "$module" "$digest" "$inside" "$files"
    done
    chmod 0755 "$half"
    mv -T "$half" "$folder"
    trap - EXIT
  fi
  echo "$folder"
}

# fetch_definitions FOLDER MODULE@VERSION DIGEST INSIDE FILES
fetch_definitions() {
  local said dir found
  # Runs outside of any module, so that only this module is fetched, without its dependencies. The digest is compared here.
  answer=$(cd "$1" && env GOMODCACHE="$cache/go/mod" GOTOOLCHAIN=local GOFLAGS=-mod=mod GOSUMDB=off go mod download -json "$2") || fail 69 "$2 can't be fetched: $answer"
  found=$(sed -n 's/^\t"Sum": "\(.*\)",\{0,1\}$/\1/p' <<<"$answer")
  dir=$(sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p' <<<"$answer")
  [ "$found" = "$3" ] || fail 70 "$2 is not what it was: its digest is $found and not $3"
  # shellcheck disable=SC2086 # patterns
  (cd "$dir/$4" && install -m 0644 $5 "$1") || fail 70 "$2 has no $4/$5"
}
