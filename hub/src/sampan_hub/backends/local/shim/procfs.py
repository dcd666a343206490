"""Processes as `/proc` shows them. A process is a pid *and* its start time: pids are reused, the pair is not."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process, told apart from every other of this boot by `start_ticks` (field 22 of its `stat`)."""

    pid: int
    start_ticks: int


@dataclass(frozen=True)
class Stat:
    process: Process
    command: str
    state: str
    parent: int

    @property
    def is_alive(self) -> bool:
        """A zombie has ended; only its parent has not noticed."""
        return self.state not in "ZX"


def parse_stat(text: bytes) -> Stat:
    """One `/proc/<pid>/stat` line; the command may itself hold spaces and parentheses."""
    head, _, tail = text.rpartition(b")")
    pid, _, command = head.partition(b"(")
    fields = tail.split()
    return Stat(
        process=Process(int(pid), int(fields[19])),
        command=command.decode("utf-8", "replace"),
        state=fields[0].decode(),
        parent=int(fields[1]),
    )


def read_stat(pid: int) -> Stat | None:
    """What `/proc` says of this pid now; None when there is no such process."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_alive(process: Process) -> bool:
    """Whether this very process runs, and not another that was given its pid."""
    stat = read_stat(process.pid)
    return stat is not None and stat.process == process and stat.is_alive


@cache
def boot_id() -> str:
    """Changes with every boot: what was recorded under another one does not run."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def all_pids() -> list[int]:
    """Every process that can be seen."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def all_stats() -> dict[int, Stat]:
    """What `/proc` says of every process that can be seen, by pid."""
    return {pid: stat for pid in all_pids() if (stat := read_stat(pid)) is not None}


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in (PROC / str(pid) / "task").iterdir():
            found.extend(int(child) for child in (task / "children").read_bytes().split())
    except (FileNotFoundError, ProcessLookupError):
        pass  # it ended while being read: its children are now somebody else's
    return found


def _knows_children() -> bool:
    return (PROC / "thread-self" / "children").exists()


def descendants(root: int) -> list[Process]:
    """Every living process below `root`, itself not included. Racy by nature: repeat until nothing is left."""
    if _knows_children():
        return _walk(root, _children)
    below: dict[int, list[int]] = {}
    for pid, stat in all_stats().items():
        below.setdefault(stat.parent, []).append(pid)
    return _walk(root, lambda pid: below.get(pid, []))


def _walk(root: int, children: Callable[[int], list[int]]) -> list[Process]:
    found: list[Process] = []
    seen = {root}
    waiting = [root]
    while waiting:
        for pid in children(waiting.pop()):
            if pid in seen:
                continue
            seen.add(pid)
            waiting.append(pid)
            stat = read_stat(pid)
            if stat is not None and stat.is_alive:
                found.append(stat.process)
    return found


def send_signal(process: Process, number: int) -> bool:
    """Signal exactly this process; False when it is gone (its pid may belong to a stranger by now)."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True
