"""What a Kubernetes backend remembers of its pods: that they were there, how they ended, and the end of their output.

Kubernetes forgets a pod with its deletion, so what is written here is committed before a pod is deleted. Two services
on one journal are safe: who notes an end first has noted it for both.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sampan_hub.backends.base import Observed
from sampan_hub.backends.noted import parse_end, render_end

_TABLES = """
CREATE TABLE IF NOT EXISTS pods (job_id TEXT PRIMARY KEY, uid TEXT NOT NULL, owner TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ends (job_id TEXT PRIMARY KEY, observed TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logs (job_id TEXT PRIMARY KEY, output BLOB NOT NULL, truncated INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_BUSY_LIMIT_S = 20.0

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Seen:
    """A pod that was there."""

    job_id: str
    uid: str
    owner: str


@dataclass(frozen=True, slots=True)
class Output:
    """The end of what a job wrote. `truncated`: there was more before."""

    data: bytes
    truncated: bool


class Journal:
    """A small database whose pods and ends are read once and kept in memory. `file` is made 0600."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        self._turn = threading.Lock()
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=_BUSY_LIMIT_S)
        self._database.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; {_TABLES}")
        rows = self._database.execute("SELECT job_id, uid, owner FROM pods")
        self._pods = {row[0]: Seen(*row) for row in rows}
        ends = self._database.execute("SELECT job_id, observed FROM ends")
        self._ends = {job_id: parse_end(job_id, text) for job_id, text in ends}
        self._facts: dict[str, str] = dict(self._database.execute("SELECT name, value FROM facts"))

    def close(self) -> None:
        self._database.close()

    def seen(self, job_id: str) -> Seen | None:
        return self._pods.get(job_id)

    def open(self) -> list[Seen]:
        """The pods whose end was not noted."""
        return [seen for job_id, seen in self._pods.items() if job_id not in self._ends]

    def is_open(self, job_id: str) -> bool:
        return job_id in self._pods and job_id not in self._ends

    def ends(self) -> Iterable[Observed]:
        """Every end that was noted and not forgotten."""
        return self._ends.values()

    def has_ended(self, job_id: str) -> bool:
        return job_id in self._ends

    def has_run_ended(self, job_id: str, uid: str) -> bool:
        """Whether the end of that very pod is noted."""
        end = self._ends.get(job_id)
        return end is not None and end.run is not None and end.run.token == uid

    def fact(self, name: str) -> str | None:
        return self._facts.get(name)

    async def note_fact(self, name: str, value: str) -> None:
        await self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", [(name, value)])
        self._facts[name] = value

    async def note_seen(self, pods: Iterable[Seen]) -> None:
        """Keep that these were there."""
        fresh = [seen for seen in pods if self._pods.get(seen.job_id) != seen]
        if fresh:
            values = [(seen.job_id, seen.uid, seen.owner) for seen in fresh]
            await self._write("INSERT OR REPLACE INTO pods VALUES (?, ?, ?)", values)
            self._pods.update((seen.job_id, seen) for seen in fresh)

    async def note_ends(self, ends: Iterable[Observed]) -> None:
        """Keep how these ended, unless that is noted already."""
        fresh = {end.job_id: end for end in ends if end.job_id not in self._ends}
        if fresh:
            self._ends.update(await self._in_thread(lambda: self._settle(fresh)))

    def _settle(self, fresh: Mapping[str, Observed]) -> dict[str, Observed]:
        values = [(job_id, render_end(end)) for job_id, end in fresh.items()]
        self._transact("INSERT OR IGNORE INTO ends VALUES (?, ?)", values)
        kept: dict[str, Observed] = {}
        for job_id in fresh:
            (text,) = self._database.execute("SELECT observed FROM ends WHERE job_id = ?", (job_id,)).fetchone()
            kept[job_id] = parse_end(job_id, text)
        return kept

    async def note_output(self, job_id: str, output: Output) -> None:
        """Keep the end of its output in place of what was kept before; nothing of a job that was forgotten since."""
        statement = "INSERT OR REPLACE INTO logs SELECT ?, ?, ? WHERE EXISTS (SELECT 1 FROM pods WHERE job_id = ?)"
        await self._write(statement, [(job_id, output.data, output.truncated, job_id)])

    async def output(self, job_id: str) -> Output | None:
        """What was kept of its output."""

        def read() -> Output | None:
            row = self._database.execute("SELECT output, truncated FROM logs WHERE job_id = ?", (job_id,)).fetchone()
            return Output(bytes(row[0]), bool(row[1])) if row is not None else None

        return await self._in_thread(read)

    async def drop(self, job_ids: Iterable[str]) -> None:
        """Forget these, their ends and output."""
        keys = [(job_id,) for job_id in job_ids]

        def delete() -> None:
            for table in ("pods", "ends", "logs"):
                self._transact(f"DELETE FROM {table} WHERE job_id = ?", keys)  # noqa: S608 - one of three names

        await self._in_thread(delete)
        for (job_id,) in keys:
            self._pods.pop(job_id, None)
            self._ends.pop(job_id, None)

    async def _write(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        await self._in_thread(lambda: self._transact(statement, values))

    async def _in_thread(self, call: Callable[[], Answer]) -> Answer:
        """A commit waits for the disk, which nobody else should wait for. One at a time, also when given up here."""

        def take_turn() -> Answer:
            with self._turn:
                return call()

        return await asyncio.to_thread(take_turn)

    def _transact(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.executemany(statement, values)
            self._database.execute("COMMIT")
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
