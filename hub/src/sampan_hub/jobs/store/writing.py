"""The only way a job or cluster row is written: legal moves, a revision, a line of history, secrets gone at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

import sqlalchemy as sa

from sampan_hub.jobs.model import Cluster, ClusterState, Exit, Job, Kind, Reason, is_legal
from sampan_hub.jobs.store.engine import Tx
from sampan_hub.jobs.store.rows import cluster_to_row, job_to_row, row_to_cluster, rows_to_jobs
from sampan_hub.jobs.store.tables import clusters, job_events, job_secrets, jobs

CHUNK = 1000
"""Ids per statement: well below what any driver takes."""


class IllegalMove(RuntimeError):
    """A programming error: the table of moves in `model` forbids this change."""


def chunks(items: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def read_jobs(conn: sa.Connection, job_ids: Iterable[str]) -> dict[str, Job]:
    """Those of these jobs that exist."""
    found: dict[str, Job] = {}
    for chunk in chunks(dict.fromkeys(job_ids)):
        rows = conn.execute(sa.select(jobs).where(jobs.c.id.in_(chunk))).mappings()
        found.update((job.id, job) for job in rows_to_jobs(rows))
    return found


def read_cluster(conn: sa.Connection, cluster_id: str) -> Cluster | None:
    row = conn.execute(sa.select(clusters).where(clusters.c.id == cluster_id)).mappings().one_or_none()
    return row_to_cluster(row) if row else None


def insert_jobs(tx: Tx, new: Sequence[Job], *, by: str, now: datetime) -> list[Job]:
    """Record new jobs, with the first line of their history."""
    if not new:
        return []
    recorded = [job.with_(revision=tx.revision, state_since=job.state_since or now) for job in new]
    tx.conn.execute(sa.insert(jobs), [job_to_row(job) for job in recorded])
    tx.conn.execute(sa.insert(job_events), [_event(job, by, now) for job in recorded])
    return recorded


def update_jobs(tx: Tx, pairs: Iterable[tuple[Job, Job]], *, by: str, now: datetime) -> list[Job]:
    """Record (before, after) pairs; unchanged ones are left alone. Returns the jobs as they are now."""
    result, written, moved, ended = [], [], [], []
    for before, changed in pairs:
        after = changed
        if after == before:
            result.append(before)
            continue
        if not is_legal(before.state, after.state):
            raise IllegalMove(f"{before.id}: {before.state} cannot become {after.state}")
        if after.state is not before.state:
            after = after.with_(state_since=now)
        after = after.with_(revision=tx.revision)
        result.append(after)
        written.append((before, after))
        if (after.state, after.wanted, after.lost) != (before.state, before.wanted, before.lost):
            moved.append(after)
        if after.is_ended:
            ended.append(after.id)
            _end_hosted(tx, after, now)
    _update_rows(tx, written)
    if moved:
        tx.conn.execute(sa.insert(job_events), [_event(job, by, now) for job in moved])
    erase_secrets(tx, ended)
    return result


def erase_secrets(tx: Tx, job_ids: Iterable[str]) -> None:
    """Forget what a claim would have been handed."""
    for chunk in chunks(job_ids):
        tx.conn.execute(sa.delete(job_secrets).where(job_secrets.c.job_id.in_(chunk)))


def update_cluster(tx: Tx, before: Cluster, after: Cluster) -> Cluster:
    """Record a cluster's change; only a changed lease does not raise the revision."""
    if after == before:
        return before
    if after != replace(before, lease_until=after.lease_until):
        after = replace(after, revision=tx.revision)
    tx.conn.execute(sa.update(clusters).where(clusters.c.id == after.id).values(cluster_to_row(after)))
    return after


def end_cluster(tx: Tx, cluster: Cluster, reason: Reason, now: datetime) -> Cluster:
    """Record the end; nothing if it is recorded already."""
    if cluster.is_ended:
        return cluster
    after = replace(cluster, state=ClusterState.ENDED, state_since=now, ended_at=now, reason=reason, lease_until=None)
    return update_cluster(tx, cluster, after)


def _end_hosted(tx: Tx, job: Job, now: datetime) -> None:
    """A cluster whose host was a job ends with it: in the same moment, so that nothing waits for its lease."""
    cluster = read_cluster(tx.conn, job.cluster) if job.kind is Kind.SCHEDULER and job.cluster is not None else None
    if cluster is None:
        return
    is_closed = cluster.state is ClusterState.CLOSING or job.exit == Exit(code=0)
    closed, lost = Reason("closed", "Closed."), Reason("host-ended", f"Its scheduler has ended: {_how_ended(job)}")
    end_cluster(tx, cluster, closed if is_closed else lost, now)


def _how_ended(job: Job) -> str:
    if job.reason is not None:
        return job.reason.text
    if job.exit is not None and job.exit.signal is not None:
        return f"it was killed by signal {job.exit.signal}."
    return "its output may say why." if job.exit is None else f"with exit code {job.exit.code}."


def _update_rows(tx: Tx, pairs: Sequence[tuple[Job, Job]]) -> None:
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for before, after in pairs:
        old, new = job_to_row(before), job_to_row(after)
        changed = {name: value for name, value in new.items() if old[name] != value}
        groups[tuple(changed)].append({f"new_{name}": value for name, value in changed.items()} | {"job": after.id})
    for names, parameters in groups.items():
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names}
        tx.conn.execute(sa.update(jobs).where(jobs.c.id == sa.bindparam("job")).values(values), parameters)


def _event(job: Job, by: str, now: datetime) -> dict[str, Any]:
    reason = job.reason
    return {
        "job_id": job.id,
        "revision": job.revision,
        "at": now,
        "state": job.state.value,
        "wanted": job.wanted.value,
        "by": by,
        "reason_code": reason.code if reason else None,
        "reason_text": reason.text if reason else None,
    }
