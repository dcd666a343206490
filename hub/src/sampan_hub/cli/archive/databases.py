"""The two databases, wherever they lie: a consistent copy while they are in use, and putting one back."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from sampan_hub.cli.archive import postgres
from sampan_hub.cli.archive.manifest import BackupError
from sampan_hub.cli.supervise.site import Site


@dataclass(frozen=True, slots=True)
class Database:
    """JupyterHub's (`hub`) or the compute service's (`sampan`)."""

    name: str
    key: str
    """Its key in the settings."""
    url: sa.URL = field(repr=False)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def file(self) -> Path:
        """Where SQLite keeps it."""
        return Path(self.url.database or "").absolute()

    @property
    def member(self) -> str:
        """What a copy of it is called in a backup."""
        return f"{self.name}.sqlite" if self.is_sqlite else f"{self.name}.pgdump"

    @property
    def shown(self) -> str:
        """For messages; never a password."""
        return str(self.file) if self.is_sqlite else self.url.render_as_string(hide_password=True)

    def exists(self) -> bool:
        """Whether anything is kept there; raises BackupError when that cannot be found out."""
        return self.file.exists() if self.is_sqlite else postgres.has_tables(self.url, self.shown)

    def save(self, target: Path) -> None:
        """A consistent copy of what is committed now; raises BackupError."""
        if self.is_sqlite:
            copy_sqlite(self.file, target)
        else:
            postgres.dump(self.url, target, self.shown)


def find_databases(site: Site) -> tuple[Database, Database]:
    """The hub's and ours. The hub's is saved first: then ours knows every job that the hub does.

    Raises BackupError for a kind of database that cannot be saved here.
    """
    settings, paths = site.settings, site.paths
    found = (
        Database("hub", "hub_database", sa.make_url(settings.hub_database or f"sqlite:///{paths.hub_sqlite}")),
        Database("sampan", "database", sa.make_url(settings.database or f"sqlite:///{paths.sampan_sqlite}")),
    )
    for database in found:
        if database.url.get_backend_name() not in ("sqlite", "postgresql"):
            raise BackupError(
                f"`{database.key}` is neither SQLite nor PostgreSQL: save {database.shown} with its own tools."
            )
    return found


def copy_sqlite(source: Path, target: Path) -> None:
    """By SQLite's own backup, so that writers may go on; what is copied is checked. BackupError or OSError."""
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode = DELETE")
            verdict = new.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
        raise BackupError(f"{source} cannot be copied ({error}): `sampan check` may say more.") from error
    if verdict != "ok":
        raise BackupError(f"{source} is damaged ({verdict}): restore an earlier backup.")
