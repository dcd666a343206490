"""Bringing the schema up to date: once, under a lock, an SQLite file copied first."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from sampan_hub.jobs.drafts import StoreError
from sampan_hub.jobs.store.engine import make_engine

MIGRATION_LOCK = 0x5A3BAA
VERSIONS = Path(__file__).parent / "migrations" / "versions"


def migrate(url: str) -> None:
    """Upgrade to the newest schema; several processes may call it at once."""
    engine = make_engine(url)
    try:
        if engine.dialect.name == "sqlite":
            _migrate_sqlite(engine)
        else:
            _migrate_server(engine)
    finally:
        engine.dispose()


def _pending(connection: sa.Connection) -> tuple[str | None, bool]:
    """The recorded revision and whether an upgrade is due; a newer schema than this program knows is refused."""
    current = _read_revision(connection)
    known = read_revisions()
    if current is not None and current not in known:
        raise StoreError(
            f"The database was written by a newer Sampan (schema {current}). Install that version, or restore the "
            "copy that its upgrade made."
        )
    return current, current != known[-1]


def read_revisions() -> list[str]:
    """Every revision, oldest first: the file of each begins with it."""
    return sorted(path.name.partition("_")[0] for path in VERSIONS.glob("[0-9]*.py"))


def _read_revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return revision


def _upgrade(connection: sa.Connection) -> None:
    """Alembic takes a tenth of the service's whole start to import, and is needed after an upgrade only."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _migrate_server(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        if _pending(connection)[1]:
            _upgrade(connection)


def _migrate_sqlite(engine: sa.Engine) -> None:
    path = Path(engine.url.database or "")
    if not engine.url.database or engine.url.database == ":memory:":
        raise StoreError("The database must be a file: sqlite:////absolute/path/sampan.sqlite")
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with _file_lock(path.with_name(path.name + ".lock")), engine.connect() as connection:
        with connection.begin():
            current, due = _pending(connection)
        if not due:
            return
        if current is not None:
            _copy(path, path.with_name(f"{path.name}.before-{current}"))
        # Batch mode rebuilds tables: with foreign keys on, dropping the old one deletes the rows of its children.
        # (The pragma does nothing inside a transaction, so it goes to the driver.)
        _driver(connection).execute("PRAGMA foreign_keys = OFF")
        with connection.begin():
            _upgrade(connection)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
            if broken:
                raise StoreError(f"The upgrade of {path} left {len(broken)} broken references; nothing was changed.")


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(f"expected the sqlite3 driver, got {type(driver).__name__}")
    return driver


def _copy(source: Path, target: Path) -> None:
    """A consistent copy, write-ahead log included, readable by nobody else."""
    partial = target.with_name(target.name + ".partial")
    os.close(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(partial)) as new:
        old.backup(new)
    partial.replace(target)


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
