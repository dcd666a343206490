"""Writes an image archive of one layer from files, without any tool that builds images.

image_archive.py ARCHIVE NAME:TAG [--entrypoint WORD]… [--cmd WORD]… [SOURCE=TARGET[@MODE] | LINK->TARGET]…
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

PASSWD = b"root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"


class Layer:
    """A layer in the making; the folders above each file come with it."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - until done()
        self._folders = {PurePosixPath(".")}

    def add(self, path: str, data: bytes, mode: int = 0o755) -> None:
        entry = self._entry(path, mode)
        entry.size = len(data)
        self._tar.addfile(entry, io.BytesIO(data))

    def link(self, path: str, target: str) -> None:
        entry = self._entry(path, 0o777)
        entry.type, entry.linkname = tarfile.SYMTYPE, target
        self._tar.addfile(entry)

    def folder(self, path: PurePosixPath) -> None:
        if path not in self._folders:
            self.folder(path.parent)
            self._folders.add(path)
            entry = tarfile.TarInfo(str(path))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path.name == "tmp" else 0o755
            self._tar.addfile(entry)

    def done(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()

    def _entry(self, path: str, mode: int) -> tarfile.TarInfo:
        inside = PurePosixPath(path.lstrip("/"))
        self.folder(inside.parent)
        entry = tarfile.TarInfo(str(inside))
        entry.mode = mode
        return entry


def make_layer(items: Sequence[str]) -> bytes:
    layer = Layer()
    layer.folder(PurePosixPath("tmp"))
    layer.add("etc/passwd", PASSWD, 0o644)
    for item in items:
        if "->" in item:
            layer.link(*item.split("->", 1))
        else:
            source, target = item.split("=", 1)
            target, _, mode = target.partition("@")
            layer.add(target, Path(source).read_bytes(), int(mode or "755", 8))
    return layer.done()


def make_archive(name: str, layer: bytes, entrypoint: Sequence[str], command: Sequence[str]) -> dict[str, bytes]:
    """The files of a `docker save` archive."""
    digest = hashlib.sha256(layer).hexdigest()
    runs = {"Entrypoint": entrypoint or None, "Cmd": command or None, "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}
    config = {"architecture": "amd64", "os": "linux", "config": {**runs, "WorkingDir": "/"}}
    config |= {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}, "history": [{"created_by": "files"}]}
    text = json.dumps(config).encode()
    files = {f"{hashlib.sha256(text).hexdigest()}.json": text, f"{digest}.tar": layer}
    config_name, layer_name = files
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]
    return {**files, "manifest.json": json.dumps(manifest).encode()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("name")
    parser.add_argument("--entrypoint", action="append", default=[])
    parser.add_argument("--cmd", action="append", default=[])
    parser.add_argument("items", nargs="*")
    options = parser.parse_intermixed_args()
    files = make_archive(options.name, make_layer(options.items), options.entrypoint, options.cmd)
    unfinished = options.archive.with_suffix(".new")
    with tarfile.open(unfinished, "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    unfinished.replace(options.archive)


if __name__ == "__main__":
    main()
