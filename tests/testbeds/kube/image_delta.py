"""Makes of a `docker save` stream an image archive that holds only what the receiver lacks; stdin to stdout.

image_delta.py REGISTRY/NAME:TAG FILE    the file has the digests that are there already, one a line
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any, BinaryIO, cast

DOCKER = "application/vnd.docker"
MANIFEST_TYPE = f"{DOCKER}.distribution.manifest.v2+json"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Archive:
    """An OCI archive, written as its parts come."""

    def __init__(self, target: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=target, mode="w|", bufsize=1 << 20)  # noqa: SIM115 - until close()
        self.sent_bytes = 0

    def blob(self, digest: str, size_bytes: int, source: Any) -> None:
        self._add(f"blobs/{digest.replace(':', '/')}", size_bytes, source)
        self.sent_bytes += size_bytes

    def document(self, name: str, content: Any) -> None:
        data = json.dumps(content).encode()
        self._add(name, len(data), io.BytesIO(data))

    def close(self) -> None:
        self._tar.close()

    def _add(self, name: str, size_bytes: int, source: Any) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size_bytes, 0o644
        self._tar.addfile(entry, source)


def copy_layers(stream: BinaryIO, have: set[str], archive: Archive) -> tuple[dict[str, int], dict[str, bytes]]:
    """Sizes of the layers by digest, and what else was in the stream."""
    sizes: dict[str, int] = {}
    documents: dict[str, bytes] = {}
    with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as source:
        for entry in source:
            if not entry.isfile():
                continue
            content = cast(BinaryIO, source.extractfile(entry))
            if entry.name.endswith(".tar"):
                digest = f"sha256:{entry.name.removesuffix('.tar')}"
                sizes[digest] = entry.size
                if digest not in have:
                    archive.blob(digest, entry.size, content)
            else:
                documents[entry.name] = content.read()
    return sizes, documents


def make_manifest(config: bytes, layers: list[str], sizes: dict[str, int]) -> bytes:
    described = [
        {"mediaType": f"{DOCKER}.image.rootfs.diff.tar", "digest": layer, "size": sizes[layer]} for layer in layers
    ]
    about = {"mediaType": f"{DOCKER}.container.image.v1+json", "digest": digest_of(config), "size": len(config)}
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": about, "layers": described}).encode()


def main(name: str, have: Path) -> None:
    archive = Archive(sys.stdout.buffer)
    try:
        sizes, documents = copy_layers(sys.stdin.buffer, set(have.read_text().split()), archive)
    except tarfile.ReadError:
        sys.exit("no image came")
    described = json.loads(documents["manifest.json"])[0]
    config = documents[described["Config"]]
    layers = [f"sha256:{Path(layer).name.removesuffix('.tar')}" for layer in described["Layers"]]
    if layers != json.loads(config)["rootfs"]["diff_ids"]:
        sys.exit("the layers' names are not their digests")
    manifest = make_manifest(config, layers, sizes)
    for document in (config, manifest):
        archive.blob(digest_of(document), len(document), io.BytesIO(document))
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1]}
    entry = {"mediaType": MANIFEST_TYPE, "digest": digest_of(manifest), "size": len(manifest), "annotations": names}
    archive.document("oci-layout", {"imageLayoutVersion": "1.0.0"})
    archive.document("index.json", {"schemaVersion": 2, "manifests": [entry]})
    archive.close()
    sent, all_ = (size / 1048576 for size in (archive.sent_bytes, sum(sizes.values())))
    print(f"{name}: {sent:.1f} of {all_:.1f} MiB sent", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
