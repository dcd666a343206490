"""The installation's own secrets: made once, read by the processes that need them, by nobody else."""

from __future__ import annotations

import base64
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from sampan_hub.settings.paths import StatePaths


class KeyFileError(Exception):
    """A key file cannot be used: which, why, and what to do."""


def _hex_64() -> bytes:
    return secrets.token_hex(32).encode()


def _fernet() -> bytes:
    return base64.urlsafe_b64encode(secrets.token_bytes(32))


KEY_FILES: Mapping[str, Callable[[], bytes]] = MappingProxyType(
    {
        "service.key": _hex_64,
        "signing.key": _hex_64,
        "secrets.key": _fernet,
        "hub-cookie": _hex_64,
        "proxy-token": _hex_64,
        "service-token": _hex_64,
        "cli-token": _hex_64,
    }
)
"""Name -> how its content is made. All are text of one line, tokens no longer than JupyterHub's 64 characters."""


def ensure_key_files(paths: StatePaths) -> None:
    """Every key file exists, whole and private, in a private folder. Never changes one that exists; safe to race."""
    paths.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    if paths.keys.stat().st_mode & 0o077:
        raise KeyFileError(f"{paths.keys} can be entered by others: run `chmod 700 {paths.keys}`")
    for name, make in KEY_FILES.items():
        path = paths.key(name)
        if not path.exists():
            create_whole(path, make() + b"\n")


def read_key(path: Path) -> bytes:
    """The key's content without its line end. Refuses a file that is missing, empty, a link, or open to others."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise KeyFileError(f"{path} is missing: `sampan up` makes it") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"{path} is not a regular file")
        if status.st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others: run `chmod 600 {path}`, and replace it if they may have")
        if status.st_uid not in (os.geteuid(), 0):
            raise KeyFileError(f"{path} belongs to another user (uid {status.st_uid})")
        content = file.read().strip()
    if not content:
        raise KeyFileError(f"{path} is empty: remove it, and `sampan up` makes a new one")
    return content


def create_whole(path: Path, content: bytes) -> None:
    """The file appears complete or not at all; where another process was first, its file stays."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
