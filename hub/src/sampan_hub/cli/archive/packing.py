"""A folder into one tar file and out of it again. The tar appears whole or not at all; nothing unexpected comes out."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sampan_hub.cli.archive.manifest import MANIFEST, BackupError, Manifest, Member, parse_manifest, render_manifest

_MANIFEST_MAX_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20


@contextmanager
def private_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder that nobody else can enter, removed with all it holds."""
    folder = parent / f".{prefix}.{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def ending_in(outcome: str, folder: Path) -> Iterator[None]:
    """Whatever goes wrong inside, the disk of `folder` included, becomes one BackupError that says the outcome too."""
    try:
        yield
    except BackupError as error:
        raise BackupError(f"{error} {outcome}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BackupError(f"The disk of {folder} is full: make room there. {outcome}") from error
        raise BackupError(f"{error.filename or folder}: {error.strerror or error}. {outcome}") from error


def describe_members(folder: Path) -> dict[str, Member]:
    """Size and checksum of every file below the folder, by its name in the tar."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): _describe(path) for path in files}


def _describe(path: Path) -> Member:
    with path.open("rb") as file:
        return Member(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def pack(folder: Path, manifest: Manifest, target: Path) -> None:
    """Write the tar, complete and private, at `target`, which must not exist; raises OSError."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            text = render_manifest(manifest)
            tar.addfile(_entry(MANIFEST, len(text), manifest), io.BytesIO(text))
            for name, member in manifest.members.items():
                with (folder / name).open("rb") as source:
                    tar.addfile(_entry(name, member.size_bytes, manifest), source)
        file.flush()
        os.fsync(file.fileno())


def _entry(name: str, size_bytes: int, manifest: Manifest) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size_bytes, 0o600, int(manifest.created_at.timestamp())
    return entry


def read_member(file: Path, name: str) -> bytes | None:
    """One small file of the backup, not yet checked; raises BackupError."""
    with _reading(file), tarfile.open(file, mode="r:") as tar:
        if name not in _read_manifest(tar).members:
            return None
        return _open(tar, tar.getmember(name)).read()


def unpack(file: Path, folder: Path) -> Manifest:
    """Every file that the manifest names, checked, below `folder`; raises BackupError, or OSError of the disk."""
    with _reading(file), tarfile.open(file, mode="r:") as tar:
        manifest = _read_manifest(tar)
        for name, member in manifest.members.items():
            _extract(tar, name, member, folder / name)
        return manifest


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except (tarfile.TarError, EOFError, KeyError) as error:
        raise BackupError(f"{file} cannot be restored: it is damaged or no backup ({error}).") from error
    except BackupError as error:
        raise BackupError(f"{file} cannot be restored. {error}") from error


def _read_manifest(tar: tarfile.TarFile) -> Manifest:
    entry = tar.next()
    if entry is None or entry.name != MANIFEST or not entry.isreg() or entry.size > _MANIFEST_MAX_BYTES:
        raise BackupError("It is no backup made by `sampan backup`: it has no manifest.")
    return parse_manifest(_open(tar, entry).read())


def _extract(tar: tarfile.TarFile, name: str, member: Member, target: Path) -> None:
    entry = tar.next()
    if entry is None or entry.name != name or not entry.isreg() or entry.size != member.size_bytes:
        raise BackupError(f"It is damaged: {name} is not where its manifest says.")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as copy:
        source = _open(tar, entry)
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    if digest.hexdigest() != member.sha256:
        raise BackupError(f"It is damaged: {name} is not what was saved.")


def _open(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    source = tar.extractfile(entry)
    if source is None:
        raise BackupError(f"It is damaged: {entry.name} cannot be read.")
    return source
