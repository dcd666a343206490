"""Connections and transactions, alike on SQLite and PostgreSQL: snapshots to read, one writer at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import sqlalchemy as sa

from sampan_hub.jobs.store.tables import site

WRITER_LOCK = 0x5A3BA9
"""PostgreSQL advisory lock that makes writers take turns, as SQLite does by itself."""
BUSY_TIMEOUT_S = 30
_WRITES = "sampan_writes"

Listener = Callable[[int], None]


@dataclass(slots=True)
class Tx:
    """One open transaction. Asking for `revision` raises the counter, so only changing transactions do."""

    conn: sa.Connection
    _revision: int | None = field(default=None, init=False)

    @property
    def revision(self) -> int:
        if self._revision is None:
            raised = sa.update(site).values(revision=site.c.revision + 1).returning(site.c.revision)
            self._revision = int(self.conn.execute(raised).scalar_one())
        return self._revision

    @property
    def raised(self) -> int | None:
        return self._revision


def make_engine(url: str) -> sa.Engine:
    """An engine whose transactions begin as `Database` wants them."""
    engine = sa.create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:
    # The driver's own transaction handling would begin late and as a reader; `_begin_sqlite` does it instead.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(conn: sa.Connection) -> None:
    writes = conn.get_execution_options().get(_WRITES, False)
    conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Database:
    """Transactions and the listeners told after each commit that changed something."""

    def __init__(self, url: str) -> None:
        self.engine = make_engine(url)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._listeners: list[Listener] = []
        self._lock = Lock()
        self._turn = Lock()
        """Writers of this process queue here: in SQLite's own queue they would sleep up to 0.1 s between tries."""

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A snapshot: everything read inside belongs to one revision."""
        with self.engine.connect() as conn:
            reader = conn if self.is_sqlite else conn.execution_options(isolation_level="REPEATABLE READ")
            with reader.begin():
                yield reader

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that no other writer overlaps; committed at the end unless the body raises."""
        with (
            self._turn,
            self.engine.connect().execution_options(**{_WRITES: True}) as conn,
            conn.begin(),
        ):
            if not self.is_sqlite:
                conn.execute(sa.select(sa.func.pg_advisory_xact_lock(WRITER_LOCK)))
            tx = Tx(conn)
            yield tx
        if tx.raised is not None:
            self._tell(tx.raised)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        with self._lock:
            self._listeners.append(listener)

        def unsubscribe() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return unsubscribe

    def _tell(self, revision: int) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(revision)
