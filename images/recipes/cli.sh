# shellcheck shell=bash
# The command line, for jobs in a cluster. `bkv dev` does not work in it, because the image has neither vaults nor a database.
packages=(libc6 libgcc-s1 gcc-12-base ca-certificates)
entrypoint=/usr/bin/bkv
# The state folder, unless BKV_STATE names another. A pod with a read-only root mounts a volume there.
options=(--env HOME=/tmp)

fill() {
  program_take bkv
  libraries_close /usr/bin/bkv
  root_certificates
}
