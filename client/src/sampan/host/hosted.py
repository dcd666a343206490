"""The clusters of this session whose hosts are jobs, as the service tells of them. Reading is pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan._api import Session


@dataclass(frozen=True, slots=True)
class Hosted:
    """One open cluster with a job as its host. `workers`, `cores` and `memory_bytes`: of those that work."""

    id: str
    name: str
    job: str
    """The host's."""
    state: str
    scheduler: str | None
    """None: it does not listen yet."""
    dashboard: str | None
    workers: int = 0
    wanted: int = 0
    cores: int = 0
    memory_bytes: int = 0


STATE_PATH = "/sampan/state"
"""Where a host that is a job says what it has now, beside its dashboard's pages."""


def find_hosted(session: Session) -> list[Hosted]:
    """Those that are open, oldest first, nothing counted; none, without asking, where no host is a job. Blocking."""
    return _ask(session, kind="scheduler")


def count_hosted(session: Session) -> list[Hosted]:
    """The same, with their workers. Blocking."""
    return _ask(session)


def _ask(session: Session, **query: str) -> list[Hosted]:
    if not session.host_jobs:
        return []
    return read_hosted(session.connect().call("GET", "/jobs", query={"parent": session.job, **query}))


def find_named(session: Session, name: str) -> Hosted | None:
    """The one of this name that can be joined. Blocking."""
    return next((each for each in find_hosted(session) if each.name == name and each.scheduler is not None), None)


def read_hosted(answer: Mapping[str, Any]) -> list[Hosted]:
    """From a JobsAnswer."""
    hosts = {job["cluster"]: job["id"] for job in answer["jobs"] if job["kind"] == "scheduler"}
    rows = sorted(answer["clusters"], key=lambda row: str(row["created_at"]))
    return [
        _read(row, hosts[row["id"]], answer["jobs"]) for row in rows if row["state"] != "ended" and row["id"] in hosts
    ]


def _read(row: Mapping[str, Any], host: str, jobs: list[Mapping[str, Any]]) -> Hosted:
    wanted = [
        job
        for job in jobs
        if job["cluster"] == row["id"] and job["kind"] == "worker" and job["state"] not in ("stopping", "ended")
    ]
    working = [job for job in wanted if job["state"] == "running"]
    return Hosted(
        id=row["id"],
        name=row["name"],
        job=host,
        state=row["state"],
        scheduler=row["scheduler"],
        dashboard=row["dashboard"],
        workers=len(working),
        wanted=len(wanted),
        cores=sum(max(1, job["cores_milli"] // 1000) for job in working),
        memory_bytes=sum(job["memory_bytes"] for job in working),
    )
