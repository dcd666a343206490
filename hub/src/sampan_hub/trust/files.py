"""Keys and certificates in the state folder: made once, whole, for their owner's eyes, however many processes race."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sampan_hub.settings.keyfiles import KeyFileError, create_whole, read_key
from sampan_hub.trust.authority import (
    Authority,
    AuthorityKind,
    PrivateKey,
    Usage,
    certificate_pem,
    key_pem,
    make_authority_certificate,
    make_key,
    names_of,
)


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a certificate and of its private key."""

    certificate: Path
    key: Path


def pair_in(folder: Path, stem: str) -> Pair:
    """`<stem>.crt` and `<stem>.key`."""
    return Pair(folder / f"{stem}.crt", folder / f"{stem}.key")


def ensure_folder(folder: Path) -> None:
    """The folder exists, and only its owner may enter it; raises KeyFileError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_mode & 0o077:
        raise KeyFileError(f"{folder} can be entered by others: run `chmod 700 {folder}`")


def ensure_authority(files: Pair, name: str, usage: Usage, now: datetime) -> Authority:
    """The authority in these files, made if it is not there. Its key and name never change by themselves."""
    key = _ensure_key(files.key)
    if not files.certificate.exists():
        create_whole(files.certificate, certificate_pem(make_authority_certificate(key, name, usage, now)))
    certificate = read_certificate(files.certificate)
    if certificate.public_key() != key.public_key():
        text = f"{files.certificate} and {files.key} do not belong together: restore both from the same backup"
        raise KeyFileError(text)
    return Authority(certificate, key, usage)


def parse_authority(certificate: bytes, key: bytes, kind: AuthorityKind) -> Authority:
    """The authority in these PEM texts; raises KeyFileError."""
    try:
        made = x509.load_pem_x509_certificate(certificate)
        private = serialization.load_pem_private_key(key, password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{kind.stem}.crt or {kind.stem}.key is not PEM") from error
    if not isinstance(private, ec.EllipticCurvePrivateKey) or made.public_key() != private.public_key():
        raise KeyFileError(f"{kind.stem}.crt and {kind.stem}.key do not belong together")
    return Authority(made, private, kind.usage)


def ensure_certificate(
    files: Pair,
    authority: Authority,
    name: str,
    names: Collection[str],
    *,
    lifetime: timedelta,
    renew_before: timedelta,
    now: datetime,
) -> bool:
    """A certificate for exactly these names that lasts for a while; whether it had to be made or made anew."""
    key = _ensure_key(files.key)
    if files.certificate.exists():
        kept = read_certificate(files.certificate)
        is_ours = authority.has_issued(kept) and kept.public_key() == key.public_key()
        if is_ours and names_of(kept) == frozenset(names) and kept.not_valid_after_utc > now + renew_before:
            return False
    certificate = authority.issue(key.public_key(), name, sorted(names), lifetime, now)
    replace_whole(files.certificate, certificate_pem(certificate))
    return True


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate in the file; raises KeyFileError."""
    return read_certificates(path)[0]


def read_certificates(path: Path) -> list[x509.Certificate]:
    """All certificates in the file, at least one; raises KeyFileError."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise KeyFileError(f"{path} holds no PEM certificate") from error


def _ensure_key(path: Path) -> PrivateKey:
    if not path.exists():
        create_whole(path, key_pem(make_key()))
    try:
        key = serialization.load_pem_private_key(read_key(path), password=None)
    except (ValueError, TypeError) as error:
        raise KeyFileError(f"{path} holds no PEM key: restore it from a backup") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{path} holds another sort of key than Sampan makes: restore it from a backup")
    return key


def replace_whole(path: Path, content: bytes) -> None:
    """Readers see the old file or the new one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
