# shellcheck shell=bash
# ChatD.
packages=(libc6 libgcc-s1 gcc-12-base ca-certificates)
entrypoint=/usr/bin/bkv-chatd

fill() {
  program_take bkv-chatd
  libraries_close /usr/bin/bkv-chatd
  root_certificates
}
