# shellcheck shell=bash
# The vault, with SoftHSM's module beside it. The copier adds modules of other makers.
packages=(libc6 libgcc-s1 gcc-12-base libstdc++6 libssl3 libsofthsm2 ca-certificates)
entrypoint=/usr/bin/bkv-vault

fill() {
  program_take bkv-vault
  root_take /usr/lib/softhsm/libsofthsm2.so
  libraries_close /usr/bin/bkv-vault /usr/lib/softhsm/libsofthsm2.so
  root_certificates
}
