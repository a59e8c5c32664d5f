#!/usr/bin/env python3
"""Reads one of our OCI archives: prints its digest, or unpacks its root and reports what is wrong with it.

  archive.py digest ARCHIVE
  archive.py inspect ARCHIVE FOLDER [--shell-allowed]
"""

import gzip
import io
import json
import os
import stat
import sys
import tarfile

USER = "65532:65532"
SHELLS = {"sh", "bash", "dash", "ash", "busybox", "zsh", "ksh"}


def blob(archive, digest):
    return archive.extractfile("blobs/" + digest.replace(":", "/")).read()


def manifest_digest(archive):
    manifests = json.load(archive.extractfile("index.json"))["manifests"]
    if len(manifests) != 1:
        sys.exit("the archive holds %d images" % len(manifests))
    return manifests[0]["digest"]


def faults(config, layers, shell_allowed):
    """What is wrong, and the folder's size in bytes."""
    found, names, size = [], {}, 0
    if config.get("User") != USER:
        found.append("runs as %r and not as %s" % (config.get("User"), USER))
    for layer in layers:
        for member in layer:
            name = member.name.removeprefix("./").strip("/")
            names[name] = member
            size += member.size
            if os.path.basename(name).startswith(".wh."):
                found.append("%s: removes a file of a lower layer" % name)
            if member.isfile() and member.mode & (stat.S_ISUID | stat.S_ISGID):
                found.append("%s: set-user-id or set-group-id" % name)
            if member.mode & stat.S_IWOTH and not member.issym() and name != "tmp":
                found.append("%s: anybody can write it" % name)
            if member.uid or member.gid:
                found.append("%s: belongs to %d:%d" % (name, member.uid, member.gid))
            if os.path.basename(name) in SHELLS and not member.isdir() and not shell_allowed:
                found.append("%s: a shell" % name)
            if member.ischr() or member.isblk() or member.isfifo():
                found.append("%s: a device" % name)
    entrypoint = config.get("Entrypoint") or []
    program = names.get(entrypoint[0].strip("/")) if len(entrypoint) == 1 else None
    if program is None or not program.isfile() or not program.mode & stat.S_IXOTH:
        found.append("entrypoint %r is no program of the image" % entrypoint)
    return found, size


def main():
    command, path, *rest = sys.argv[1:]
    with tarfile.open(path) as archive:
        digest = manifest_digest(archive)
        if command == "digest":
            print(digest)
            return
        manifest = json.loads(blob(archive, digest))
        config = json.loads(blob(archive, manifest["config"]["digest"]))["config"]
        layers = []
        for layer in manifest["layers"]:
            data = blob(archive, layer["digest"])
            layers.append(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    found, size = faults(config, (tarfile.open(fileobj=io.BytesIO(data)) for data in layers), "--shell-allowed" in rest)
    for data in layers:
        tarfile.open(fileobj=io.BytesIO(data)).extractall(rest[0])
    packed = sum(len(gzip.compress(data)) for data in layers)
    if found:
        sys.exit("\n".join("%s: %s" % (os.path.basename(path), fault) for fault in found))
    print(config["Entrypoint"][0], "%.1f" % (size / 1e6), "%.1f" % (packed / 1e6), digest)


main()
