# shellcheck shell=bash
# One static program: it also runs in images where nothing else is.
packages=()
entrypoint=/copier

fill() {
  copier_build "$root/copier"
}
