"""Between rows and records. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from sampan_hub.jobs.model import (
    Address,
    Cluster,
    ClusterState,
    Exit,
    Job,
    JobEvent,
    Kind,
    Reason,
    Resources,
    RunIdentity,
    State,
    Wanted,
)

_PLAIN = (
    "id", "name", "owner", "tenant", "project", "size", "environment", "backend", "batch", "parent", "cluster",
    "price_micros_per_hour", "created_at", "state_since", "attempt", "unknown_since", "lost", "last_seen_at",
    "claimed_at", "started_at", "ended_at", "deadline", "busy", "busy_at", "position", "revision",
)  # fmt: skip

_CLUSTER_PLAIN = (
    "id", "name", "owner", "tenant", "project", "parent", "size", "backend", "created_at", "state_since",
    "scheduler", "dashboard", "lease_until", "busy_at", "ended_at", "idle_timeout_s", "revision",
)  # fmt: skip


def job_to_row(job: Job) -> dict[str, Any]:
    """Every column of the jobs table."""
    row = {name: getattr(job, name) for name in _PLAIN}
    reason, address, exit_ = job.reason, job.address, job.exit
    row.update(
        state_since=job.state_since or job.created_at,
        kind=job.kind.value,
        wanted=job.wanted.value,
        state=job.state.value,
        item_index=job.index,
        options=dict(job.options),
        cores_milli=job.resources.cores_milli,
        memory_bytes=job.resources.memory_bytes,
        gpus=job.resources.gpus,
        reason_code=reason.code if reason else None,
        reason_text=reason.text if reason else None,
        run_token=job.run.token if job.run else None,
        address_scheme=address.scheme if address else None,
        address_host=address.host if address else None,
        address_port=address.port if address else None,
        exit_code=exit_.code if exit_ else None,
        exit_signal=exit_.signal if exit_ else None,
        exit_peak_memory_bytes=exit_.peak_memory_bytes if exit_ else None,
    )
    return row


def row_to_job(row: sa.RowMapping) -> Job:
    """The record a row holds."""
    plain = {name: row[name] for name in _PLAIN}
    return Job(
        **plain,
        kind=Kind(row["kind"]),
        wanted=Wanted(row["wanted"]),
        state=State(row["state"]),
        index=row["item_index"],
        options=dict(row["options"]),
        resources=Resources(row["cores_milli"], row["memory_bytes"], row["gpus"]),
        reason=_reason(row),
        run=RunIdentity(row["run_token"]) if row["run_token"] is not None else None,
        address=_address(row),
        exit=_exit(row),
    )


def rows_to_jobs(rows: Iterable[sa.RowMapping]) -> list[Job]:
    return [row_to_job(row) for row in rows]


def cluster_to_row(cluster: Cluster) -> dict[str, Any]:
    """Every column of the clusters table."""
    row = {name: getattr(cluster, name) for name in _CLUSTER_PLAIN}
    reason = cluster.reason
    row.update(
        state=cluster.state.value,
        reason_code=reason.code if reason else None,
        reason_text=reason.text if reason else None,
    )
    return row


def row_to_cluster(row: sa.RowMapping) -> Cluster:
    """The record a row holds."""
    plain = {name: row[name] for name in _CLUSTER_PLAIN}
    return Cluster(**plain, state=ClusterState(row["state"]), reason=_reason(row))


def row_to_event(row: sa.RowMapping) -> JobEvent:
    """One line of a job's history."""
    return JobEvent(
        job_id=row["job_id"],
        at=row["at"],
        state=State(row["state"]),
        wanted=Wanted(row["wanted"]),
        by=row["by"],
        reason=_reason(row),
        revision=row["revision"],
    )


def _reason(row: sa.RowMapping) -> Reason | None:
    return None if row["reason_code"] is None else Reason(row["reason_code"], row["reason_text"] or "")


def _address(row: sa.RowMapping) -> Address | None:
    if row["address_host"] is None:
        return None
    return Address(row["address_host"], row["address_port"], row["address_scheme"])


def _exit(row: sa.RowMapping) -> Exit | None:
    figures = (row["exit_code"], row["exit_signal"], row["exit_peak_memory_bytes"])
    return None if all(figure is None for figure in figures) else Exit(*figures)
