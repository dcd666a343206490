"""Login links: a secret in a URL that becomes a login cookie. Files only; the command line uses this too.

Kept is the secret's SHA-256 alone, one file per link: whoever reads the state folder cannot log in with it.
`once` links work one time and expire unused; `personal` links work until revoked.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from sampan_hub.settings.paths import StatePaths

LinkKind = Literal["once", "personal"]
ONCE_LASTS = timedelta(minutes=15)
_SECRET = re.compile(r"^[A-Za-z0-9_-]{32,128}$")
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Link:
    """What is kept of a link. `expires_at` is None for a personal one."""

    name: str
    kind: LinkKind
    created_at: datetime
    expires_at: datetime | None


def link_url(public_url: str, secret: str) -> str:
    """The URL to open. JupyterHub and the proxy keep a parameter called `token` out of their logs."""
    return f"{public_url.rstrip('/')}/hub/link?token={secret}"


def make_link(paths: StatePaths, name: str, kind: LinkKind, now: datetime | None = None) -> str:
    """A new link for this person; returns its secret, which is kept nowhere."""
    created_at = now or datetime.now(UTC)
    expires_at = created_at + ONCE_LASTS if kind == "once" else None
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    paths.links.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write_new(_path_of(paths, secret), Link(name, kind, created_at, expires_at))
    return secret


def redeem(paths: StatePaths, secret: str, now: datetime | None = None) -> str | None:
    """Whom this secret logs in; None when it is unknown, spent, revoked or too old.

    A `once` link is spent by this call: of any number of callers at the same time one gets the name.
    """
    if not _SECRET.match(secret):
        return None
    path = _path_of(paths, secret)
    link = _read(path)
    if link is None:
        return None
    if link.kind == "personal":
        return link.name
    if not _removed(path):
        return None
    is_fresh = link.expires_at is not None and (now or datetime.now(UTC)) < link.expires_at
    return link.name if is_fresh else None


def revoke(paths: StatePaths, name: str) -> int:
    """End every link of this person; returns how many there were."""
    return sum(_removed(path) for path, link in _links(paths) if link.name == name)


def has_personal_link(paths: StatePaths, name: str) -> bool:
    """Whether a personal link of this person is in force."""
    return any(link.name == name and link.kind == "personal" for _, link in _links(paths))


def purge(paths: StatePaths, now: datetime | None = None) -> int:
    """Remove what expired unused; returns how many there were."""
    at = now or datetime.now(UTC)
    return sum(_removed(path) for path, link in _links(paths) if link.expires_at is not None and link.expires_at <= at)


def _path_of(paths: StatePaths, secret: str) -> Path:
    return paths.links / f"{hashlib.sha256(secret.encode()).hexdigest()}.json"


def _links(paths: StatePaths) -> Iterator[tuple[Path, Link]]:
    for path in sorted(paths.links.glob("*.json")) if paths.links.is_dir() else []:
        link = _read(path)
        if link is not None:
            yield path, link


def _write_new(path: Path, link: Link) -> None:
    """The file appears complete, private from its first moment."""
    draft = path.with_name(f".{path.stem}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(link), file, default=datetime.isoformat)
    draft.rename(path)


def _read(path: Path) -> Link | None:
    """The link in this file; None when it is gone or is none of ours."""
    try:
        kept = json.loads(path.read_text())
        created_at, expires_at = kept["created_at"], kept["expires_at"]
        if kept["kind"] not in ("once", "personal"):
            return None
        return Link(
            name=str(kept["name"]),
            kind=kept["kind"],
            created_at=datetime.fromisoformat(created_at),
            expires_at=None if expires_at is None else datetime.fromisoformat(expires_at),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _removed(path: Path) -> bool:
    """Whether this call was the one that removed it: unlinking is atomic, and succeeds for one caller alone."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
