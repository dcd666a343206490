"""What runs, from /proc alone: no API, no record of ours is believed without a living process behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENTRY_POINTS = {"sampan.notebook": "notebook", "sampan.scheduler": "scheduler", "sampan.worker": "worker"}


@dataclass(frozen=True, slots=True)
class Process:
    """A living process that carries a job key in its environment or its command line."""

    pid: int
    job_id: str
    argv: tuple[str, ...]

    @property
    def entry(self) -> str | None:
        """`notebook`, `scheduler` or `worker` for the process that *is* the job; None for what it started."""
        for flag, module in zip(self.argv, self.argv[1:], strict=False):
            if flag == "-m" and module in ENTRY_POINTS:
                return ENTRY_POINTS[module]
        return None


def processes_with_key(instance: str) -> list[Process]:
    """Every living process with a key of this installation (zombies do not live)."""
    return [found for folder in Path("/proc").glob("[0-9]*") for found in _read(folder, instance)]


def _read(folder: Path, instance: str) -> Iterator[Process]:
    try:
        state = (folder / "stat").read_text().rpartition(") ")[2][:1]
        argv = tuple((folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1])
        environment = (folder / "environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return  # it ended while we looked, or belongs to somebody else
    if state in "ZX":
        return
    key = _key(argv, environment, instance)
    if key is not None:
        yield Process(int(folder.name), key, argv)


def _key(argv: tuple[str, ...], environment: list[bytes], instance: str) -> str | None:
    for entry in environment:
        name, _, value = entry.partition(b"=")
        if name == b"SAMPAN_JOB" and value.decode(errors="replace").startswith(f"{instance}."):
            return value.decode(errors="replace")
    for word in argv:
        last = word.rstrip("/").rpartition("/")[2]
        if last.startswith(f"{instance}."):
            return last
    return None
