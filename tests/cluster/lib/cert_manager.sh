# shellcheck shell=bash
# cert-manager's controllers as one program, for tests with our Certificates. It is built at the first use.

cert_manager_program() {
  printf '%s/cluster/cert-manager-%.12s' "$cache" "$(cd "$here" && cat cert-manager/* | sha256sum)"
}

# Prints its path. Progress goes to standard error.
cert_manager() {
  local program
  program=$(cert_manager_program)
  if [ ! -e "$program" ]; then
    needs_go
    lock_of_cache cert-manager
  fi
  if [ ! -e "$program" ]; then
    say "Go: cert-manager's controllers (cold: two to four minutes)" >&2
    (cd "$here/cert-manager" && go_build -ldflags '-s -w' -o "$program.half" .) >&2
    mv -T "$program.half" "$program"
  fi
  echo "$program"
}
