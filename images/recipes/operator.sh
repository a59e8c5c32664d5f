# shellcheck shell=bash
# The operator.
packages=(libc6 libgcc-s1 gcc-12-base ca-certificates)
entrypoint=/usr/bin/bkv-operator

fill() {
  program_take bkv-operator
  libraries_close /usr/bin/bkv-operator
  root_certificates
}
