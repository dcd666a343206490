"""What anybody on the machine can see of an installation: `ps` and `ss`, and nothing of Sampan's own."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP socket that waits for connections."""

    host: str
    port: int
    pid: int


def list_processes(mark: str) -> dict[int, str]:
    """Pid -> command line and environment of every process in either of which `mark` stands."""
    lines = _run("ps", "axeww", "-o", "pid=,stat=,args=")
    found = {}
    for line in lines:
        pid, state, words = (*line.split(maxsplit=2), "")[:3]
        if mark in words and not state.startswith("Z"):
            found[int(pid)] = words
    return found


def list_listeners() -> list[Listener]:
    """Every listening TCP socket whose process this user may see."""
    found = []
    for line in _run("ss", "-H", "-t", "-l", "-n", "-p"):
        host, _, port = line.split()[3].rpartition(":")
        found += [Listener(host, int(port), int(pid)) for pid in re.findall(r"pid=(\d+)", line)]
    return found


def _run(*argv: str) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=True, timeout=30)
    return done.stdout.splitlines()
