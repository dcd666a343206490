"""What runs in a notebook's session: clusters whose hosts are beside it, and those whose hosts are jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan import rundir
from sampan._api import Session
from sampan.host.hosted import count_hosted


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """One line of `Cluster.list()`."""

    name: str
    workers: int
    wanted: int
    cores: int
    memory_bytes: int


def list_running(session: Session) -> list[RunningCluster]:
    """Those that can be joined, the oldest first. Blocking."""
    return [_summarise(folder, host) for folder, host in rundir.live_hosts(session)] + [
        RunningCluster(each.name, each.workers, each.wanted, each.cores, each.memory_bytes)
        for each in count_hosted(session)
        if each.scheduler is not None
    ]


def _summarise(folder: Path, host: Mapping[str, Any]) -> RunningCluster:
    state = rundir.read_json(folder / "state.json") or {}
    return RunningCluster(
        host["name"],
        state.get("workers", 0),
        sum(state.get("wanted", {}).values()),
        state.get("cores", 0),
        state.get("memory_bytes", 0),
    )
