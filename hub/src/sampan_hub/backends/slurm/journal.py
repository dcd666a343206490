"""What a Slurm backend remembers: where each job's stage is, and how jobs ended that the controller has forgotten.

A memory and no truth: without it jobs are found, run and end all the same; only old logs and folders are not found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sampan_hub.backends.base import Observed
from sampan_hub.backends.noted import parse_end, render_end

_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    job_id TEXT PRIMARY KEY, user TEXT NOT NULL, owner TEXT NOT NULL, stage TEXT NOT NULL, task INTEGER, base INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ends (
    job_id TEXT NOT NULL, raw_id TEXT NOT NULL, observed TEXT NOT NULL, PRIMARY KEY (job_id, raw_id)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one job is kept."""

    job_id: str
    user: str
    """The system user as whom it runs."""
    owner: str
    stage: str
    task: int | None
    base: int | None = None
    """The number of its Slurm job or array, once that is known."""

    @property
    def slurm_id(self) -> str | None:
        if self.base is None:
            return None
        return str(self.base) if self.task is None else f"{self.base}_{self.task}"


class Journal:
    """A small database that is read once. `file` is made 0600."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        self._database = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._database.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_TABLES}")
        rows = self._database.execute("SELECT job_id, user, owner, stage, task, base FROM jobs")
        self._entries = {row[0]: Entry(*row) for row in rows}
        self._by_slurm_id = {entry.slurm_id: entry for entry in self._entries.values() if entry.slurm_id is not None}
        self._ends: dict[str, dict[str, Observed]] = {}
        for job_id, raw_id, text in self._database.execute("SELECT job_id, raw_id, observed FROM ends"):
            self._ends.setdefault(job_id, {})[raw_id] = parse_end(job_id, text)

    def close(self) -> None:
        self._database.close()

    def find(self, job_id: str) -> Entry | None:
        return self._entries.get(job_id)

    def find_number(self, slurm_id: str) -> Entry | None:
        """Which job was put into the queue under this number (`123` or `123_4`)."""
        return self._by_slurm_id.get(slurm_id)

    def ends(self) -> Iterable[Observed]:
        """Every end that was noted and not forgotten."""
        return (end for ends in self._ends.values() for end in ends.values())

    def has_ended(self, job_id: str) -> bool:
        return job_id in self._ends

    def end_of(self, job_id: str, raw_id: str) -> Observed | None:
        """How that very run ended, if it was noted."""
        return self._ends.get(job_id, {}).get(raw_id)

    def remember(self, entries: Iterable[Entry]) -> None:
        """Keep these. A number, once known, is not lost again, and that of another job's copy is not taken."""
        fresh = [entry for entry in entries if self._is_news(entry)]
        if not fresh:
            return
        self._entries.update((entry.job_id, entry) for entry in fresh)
        self._by_slurm_id.update((entry.slurm_id, entry) for entry in fresh if entry.slurm_id is not None)
        values = [(entry.job_id, entry.user, entry.owner, entry.stage, entry.task, entry.base) for entry in fresh]
        self._write("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?)", values)

    def _is_news(self, entry: Entry) -> bool:
        known = self._entries.get(entry.job_id)
        return known is None or (known.base is None and known != entry)

    def note_end(self, ends: Iterable[tuple[str, Observed]]) -> None:
        """Keep how these runs ended: pairs of the run's own Slurm number and what was observed."""
        fresh = list(ends)
        for raw_id, end in fresh:
            self._ends.setdefault(end.job_id, {})[raw_id] = end
        values = [(end.job_id, raw_id, render_end(end)) for raw_id, end in fresh]
        if values:
            self._write("INSERT OR REPLACE INTO ends VALUES (?, ?, ?)", values)

    def stages_without(self, job_ids: Iterable[str]) -> dict[str, list[str]]:
        """By user, the stages that would have no job left without these."""
        going = {entry.job_id for entry in map(self.find, job_ids) if entry is not None}
        stages = {(self._entries[job_id].user, self._entries[job_id].stage) for job_id in going}
        for entry in self._entries.values():
            if entry.job_id not in going:
                stages.discard((entry.user, entry.stage))
        found: dict[str, list[str]] = {}
        for user, stage in sorted(stages):
            found.setdefault(user, []).append(stage)
        return found

    def drop(self, job_ids: Iterable[str]) -> None:
        """Forget these and their ends."""
        keys = [(job_id,) for job_id in job_ids]
        for (job_id,) in keys:
            self._ends.pop(job_id, None)
            entry = self._entries.pop(job_id, None)
            if entry is not None and entry.slurm_id is not None and self.find_number(entry.slurm_id) == entry:
                del self._by_slurm_id[entry.slurm_id]
        self._write("DELETE FROM jobs WHERE job_id = ?", keys)
        self._write("DELETE FROM ends WHERE job_id = ?", keys)

    def _write(self, statement: str, values: Sequence[tuple[object, ...]]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany(statement, values)
        self._database.execute("COMMIT")
