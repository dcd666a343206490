"""All secrets of an installation as names and contents, for where they are kept as one (a Secret of a cluster)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from urllib.parse import quote

from sampan_hub.settings.keyfiles import KEY_FILES, KeyFileError
from sampan_hub.trust.authority import (
    AuthorityKind,
    Usage,
    certificate_pem,
    key_pem,
    make_authority_certificate,
    make_key,
)
from sampan_hub.trust.entry import AUTHORITY_STEM
from sampan_hub.trust.front import CLIENTS, JOBS
from sampan_hub.trust.internal import INTERNAL

TRIAL_USER = "sampan"
TRIAL_DATABASES = {"database-url": "sampan", "hub-database-url": "jupyterhub"}
"""Name -> the database it leads to, on the PostgreSQL server that comes with an installation to try it out."""
TRIAL_PASSWORD = "postgresql-password"  # noqa: S105 - the name of one
OWN_AUTHORITIES = (CLIENTS, JOBS, INTERNAL)
"""Those that only our own programs believe."""

Contents = dict[str, bytes]


def make_missing(
    kept: Mapping[str, bytes], installation: str, now: datetime, trial_database: str | None = None
) -> Contents:
    """What is to be added to `kept`: all of it for an empty one. What is there never changes.

    `installation` is what people see of it who import its authority; `trial_database` the host of the trial database.
    Raises KeyFileError for a part of things that belong together.
    """
    added: Contents = {}
    for names, make in _groups(installation, now, trial_database):
        there = [name for name in names if name in kept]
        if not there:
            added |= make()
        elif len(there) < len(names):
            missing = ", ".join(name for name in names if name not in kept)
            raise KeyFileError(f"{missing} is missing beside {', '.join(there)}: restore it from a backup")
    return added


def entry_authority(installation: str) -> AuthorityKind:
    """The one that people may import."""
    return AuthorityKind(AUTHORITY_STEM, f"Sampan in {installation}", Usage.SERVER)


def _groups(
    installation: str, now: datetime, trial_database: str | None
) -> Iterator[tuple[tuple[str, ...], Callable[[], Contents]]]:
    for name in KEY_FILES:
        yield (name,), partial(_make_key, name)
    for kind in (entry_authority(installation), *OWN_AUTHORITIES):
        yield (f"{kind.stem}.crt", f"{kind.stem}.key"), partial(_make_authority, kind, now)
    if trial_database is not None:
        yield (TRIAL_PASSWORD, *TRIAL_DATABASES), partial(_make_trial, trial_database)


def _make_key(name: str) -> Contents:
    return {name: KEY_FILES[name]()}


def _make_authority(kind: AuthorityKind, now: datetime) -> Contents:
    key = make_key()
    certificate = make_authority_certificate(key, kind.name, kind.usage, now)
    return {f"{kind.stem}.crt": certificate_pem(certificate), f"{kind.stem}.key": key_pem(key)}


def _make_trial(host: str) -> Contents:
    password = secrets.token_urlsafe(32)
    urls = {
        name: f"postgresql+psycopg://{TRIAL_USER}:{quote(password, safe='')}@{host}/{database}".encode()
        for name, database in TRIAL_DATABASES.items()
    }
    return {TRIAL_PASSWORD: password.encode(), **urls}
