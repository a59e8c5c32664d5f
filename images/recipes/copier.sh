# shellcheck shell=bash
# One static program, so it also runs in images without any library.
packages=()
entrypoint=/copier

fill() {
  copier_build "$root/copier"
}
