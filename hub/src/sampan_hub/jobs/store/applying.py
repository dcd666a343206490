"""Carrying a plan's records into the store: compare, then set; what changed meanwhile is left for the next plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from sampan_hub.backends.base import Identity, Observed, Phase
from sampan_hub.jobs.model import Cluster, ClusterState, Job, Kind, Reason, State, Wanted
from sampan_hub.jobs.plan.actions import Action, Adopt, EndCluster, Record, Report, Submit
from sampan_hub.jobs.store import hosting
from sampan_hub.jobs.store.engine import Tx
from sampan_hub.jobs.store.tables import HOLDS, batches, findings, jobs
from sampan_hub.jobs.store.writing import end_cluster, insert_jobs, read_cluster, read_jobs, update_jobs

BY = "service"


@dataclass(slots=True)
class Applied:
    """What of a plan was recorded. `submit`: the jobs now to be submitted, by backend, one list per action."""

    changed: bool = False
    submit: list[Submit] = field(default_factory=list)


def apply(tx: Tx, actions: Sequence[Action], now: datetime) -> Applied:
    """Record everything in the actions that is recorded; see `Store.apply`."""
    applied = Applied()
    current = read_jobs(tx.conn, _expected_ids(actions))
    pairs: dict[str, tuple[Job, Job]] = {}
    for action in actions:
        if isinstance(action, Record):
            before = current.get(action.before.id)
            if before is not None and before.revision == action.before.revision and before.id not in pairs:
                pairs[before.id] = (before, action.after)
        elif isinstance(action, Submit):
            won = _claim_submits(action, current, pairs, now)
            applied.submit += [Submit(action.backend, won)] if won else []
    update_jobs(tx, pairs.values(), by=BY, now=now)
    for action in actions:
        if isinstance(action, EndCluster):
            _end_cluster(tx, action, now)
        elif isinstance(action, Adopt):
            _adopt(tx, action, now)
        elif isinstance(action, Report):
            _replace_findings(tx, action, now)
    applied.changed = tx.raised is not None
    applied.submit = [Submit(call.backend, _as_recorded(tx, call.jobs)) for call in applied.submit]
    return applied


def _expected_ids(actions: Iterable[Action]) -> list[str]:
    ids: list[str] = []
    for action in actions:
        if isinstance(action, Record):
            ids.append(action.before.id)
        elif isinstance(action, Submit):
            ids += [job.id for job in action.jobs]
    return ids


def _claim_submits(
    action: Submit, current: dict[str, Job], pairs: dict[str, tuple[Job, Job]], now: datetime
) -> tuple[Job, ...]:
    won = []
    for expected in action.jobs:
        before = current.get(expected.id)
        if before is None or before.revision != expected.revision or before.id in pairs:
            continue
        after = before.with_(state=State.SUBMITTING, state_since=now, attempt=before.attempt + 1)
        pairs[before.id] = (before, after.with_(position=None, reason=None))
        won.append(after)
    return tuple(won)


def _as_recorded(tx: Tx, submitted: tuple[Job, ...]) -> tuple[Job, ...]:
    found = read_jobs(tx.conn, [job.id for job in submitted])
    return tuple(found[job.id] for job in submitted)


def _end_cluster(tx: Tx, action: EndCluster, now: datetime) -> None:
    cluster = read_cluster(tx.conn, action.cluster_id)
    if cluster is None or cluster.revision != action.revision or cluster.lease_until != action.lease_until:
        return
    end_cluster(tx, cluster, action.reason, now)


def _adopt(tx: Tx, action: Adopt, now: datetime) -> None:
    identity = action.observed.identity
    if identity is None or read_jobs(tx.conn, [identity.job_id]):
        return
    job = make_adopted(identity, action.observed, action.backend, now)
    if _is_second(tx.conn, identity):
        # Two notebooks cannot hold one name; the one that nobody here knew gives way.
        why = Reason("notebook-exists", "Another notebook of this name is recorded; this one was found running.")
        job = job.with_(lost=True, unknown_since=now, wanted=Wanted.STOP, reason=why)
    known = tx.conn.execute(sa.select(batches.c.id).where(batches.c.id == identity.batch)).first()
    if known is None:
        row = {
            "id": identity.batch,
            "submitter": "adopted",
            "batch_key": identity.batch,
            "content": "",
            "created_at": now,
        }
        tx.conn.execute(sa.insert(batches).values(row))
    insert_jobs(tx, [job], by=BY, now=now)
    if identity.cluster is not None and read_cluster(tx.conn, identity.cluster) is None:
        hosting.insert(tx, _make_adopted_cluster(tx, identity, identity.cluster, action.backend, now))


def _replace_findings(tx: Tx, action: Report, now: datetime) -> None:
    table = findings
    rows = tx.conn.execute(sa.select(table).where(table.c.backend == action.backend)).mappings()
    old = {(row["code"], row["subject"]): (row["text"], row["remedy"]) for row in rows}
    new = {(finding.code, finding.subject): (finding.text, finding.remedy) for finding in action.findings}
    for code, subject in [key for key in old if new.get(key) != old[key]]:
        gone = (table.c.backend == action.backend) & (table.c.code == code) & (table.c.subject == subject)
        tx.conn.execute(sa.delete(table).where(gone))
    added = [
        {"backend": action.backend, "code": code, "subject": subject, "text": text, "remedy": remedy, "found_at": now}
        for (code, subject), (text, remedy) in new.items()
        if old.get((code, subject)) != (text, remedy)
    ]
    if added:
        tx.conn.execute(sa.insert(table), added)


def make_adopted(identity: Identity, observed: Observed, backend: str, now: datetime) -> Job:
    """The record of what was found running. Its run is bound already: nobody else may claim the id."""
    return Job(
        id=identity.job_id,
        kind=identity.kind,
        name=identity.name,
        owner=identity.owner,
        project=identity.project,
        tenant=identity.tenant,
        size=identity.size,
        resources=identity.resources,
        environment=identity.environment,
        backend=backend,
        batch=identity.batch,
        index=identity.index,
        created_at=identity.created_at,
        parent=identity.parent,
        cluster=identity.cluster,
        state=State.QUEUED if observed.phase is Phase.QUEUED else State.STARTING,
        attempt=1,
        run=observed.run,
        last_seen_at=now,
        started_at=observed.started_at,
        deadline=observed.deadline,
        price_micros_per_hour=identity.price_micros_per_hour,
    )


def _is_second(conn: sa.Connection, identity: Identity) -> bool:
    if identity.kind != "notebook":
        return False
    held = sa.select(jobs.c.id).where(
        jobs.c.owner == identity.owner, jobs.c.name == identity.name, sa.text("kind = 'notebook'"), sa.text(HOLDS)
    )
    return conn.execute(held).first() is not None


def _make_adopted_cluster(tx: Tx, identity: Identity, cluster_id: str, backend: str, now: datetime) -> Cluster:
    """A cluster known only from its jobs: its host has one lease's time to speak, or they are stopped."""
    return Cluster(
        id=cluster_id,
        name=identity.name if identity.kind == Kind.SCHEDULER else f"found-{cluster_id[-6:]}",
        owner=identity.owner,
        project=identity.project,
        tenant=identity.tenant,
        parent=identity.parent,
        size=identity.size,
        backend=backend,
        created_at=now,
        state=ClusterState.RUNNING,
        state_since=now,
        lease_until=now + hosting.LEASE,
        revision=tx.revision,
    )
