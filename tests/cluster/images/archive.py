"""A container image out of a few files, without any container tool: writes a docker archive that containerd imports."""

import argparse
import hashlib
import io
import json
import pathlib
import platform
import tarfile


ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def layer(files):
    """A tar of SOURCE:DESTINATION pairs and of the folders above them; the same bytes for the same files."""
    buffer = io.BytesIO()
    folders = set()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for pair in files:
            source, destination = pair.split(":")
            target = pathlib.PurePosixPath(destination.lstrip("/"))
            for folder in reversed(target.parents[:-1]):
                if folder not in folders:
                    folders.add(folder)
                    entry = tarfile.TarInfo(str(folder))
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            add(tar, str(target), pathlib.Path(source).read_bytes(), mode=0o755)
    return buffer.getvalue()


def add(tar, name, data, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive")
    parser.add_argument("name", help="REPOSITORY:TAG")
    parser.add_argument("entrypoint", help="path of the program inside")
    parser.add_argument("files", nargs="+", metavar="SOURCE:DESTINATION")
    parser.add_argument("--user", default="0:0")
    options = parser.parse_args()

    contents = layer(options.files)
    digest = hashlib.sha256(contents).hexdigest()
    config = json.dumps(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {"Entrypoint": [options.entrypoint], "User": options.user, "Env": ["PATH=/"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    layer_name = f"{digest}/layer.tar"
    manifest = [{"Config": config_name, "RepoTags": [options.name], "Layers": [layer_name]}]
    with tarfile.open(options.archive, "w") as tar:
        add(tar, config_name, config)
        add(tar, layer_name, contents)
        add(tar, "manifest.json", json.dumps(manifest).encode())


if __name__ == "__main__":
    main()
