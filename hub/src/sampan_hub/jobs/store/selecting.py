"""Reading jobs: selections for people and hosts, and what the planner needs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from sampan_hub.jobs.drafts import Selection
from sampan_hub.jobs.model import ClusterState, Job, State, Wanted
from sampan_hub.jobs.plan.world import Recorded
from sampan_hub.jobs.store.rows import row_to_cluster, rows_to_jobs
from sampan_hub.jobs.store.tables import OPEN, clusters, jobs
from sampan_hub.jobs.store.writing import chunks

ORDER = (jobs.c.created_at, jobs.c.batch, jobs.c.item_index)


def select_jobs(conn: sa.Connection, selection: Selection) -> list[Job]:
    """See `Selection`."""
    query = sa.select(jobs)
    for name in ("kind", "name", "cluster", "parent", "backend", "batch"):
        value = getattr(selection, name)
        if value is not None:
            query = query.where(jobs.c[name] == str(value))
    if selection.ids is None and selection.states is None:
        return _open_and_lately_ended(conn, query, selection)
    if selection.owner is not None:
        query = query.where(jobs.c.owner == selection.owner)
    if selection.ids is not None:
        return _by_ids(conn, query, selection)
    query = query.where(_liveness(selection.states or frozenset(State)))
    if selection.limit is not None:
        newest = query.order_by(*(column.desc() for column in ORDER)).limit(selection.limit)
        return rows_to_jobs(conn.execute(newest).mappings())[::-1]
    return _in_order(conn, query)


def _in_order(conn: sa.Connection, query: sa.Select[tuple[object, ...]]) -> list[Job]:
    """Sorted here: asked for an order, SQLite walks the index that has it, through the whole history."""
    return sorted(rows_to_jobs(conn.execute(query).mappings()), key=_order)


def _liveness(states: frozenset[State]) -> sa.ColumnElement[bool]:
    named = jobs.c.state.in_([state.value for state in states])
    return named if State.ENDED in states else sa.and_(named, sa.text(OPEN))


def _open_and_lately_ended(
    conn: sa.Connection, query: sa.Select[tuple[object, ...]], selection: Selection
) -> list[Job]:
    """Two questions, each with an index of its own.

    The first hides the owner from SQLite, which would else walk all that this owner ever had: what is open is few.
    """
    of_owner = sa.true() if selection.owner is None else jobs.c.owner.concat("") == selection.owner
    found = _in_order(conn, query.where(sa.text(OPEN), of_owner))
    if selection.ended_after is not None:
        ended = query.where(jobs.c.ended_at > selection.ended_after)
        if selection.owner is not None:
            ended = ended.where(jobs.c.owner == selection.owner)
        found = sorted([*found, *_in_order(conn, ended)], key=_order)
    return found if selection.limit is None else found[-selection.limit :]


def _order(job: Job) -> tuple[datetime, str, int]:
    return job.created_at, job.batch, job.index


def _by_ids(conn: sa.Connection, query: sa.Select[tuple[object, ...]], selection: Selection) -> list[Job]:
    found: list[Job] = []
    for chunk in chunks(selection.ids or ()):
        found += rows_to_jobs(conn.execute(query.where(jobs.c.id.in_(chunk))).mappings())
    if selection.states is not None:
        found = [job for job in found if job.state in selection.states]
    return sorted(found, key=_order)


def read_recorded(conn: sa.Connection, revision: int, shown: Iterable[str]) -> Recorded:
    """What the planner needs; `shown` are ids that listings show alive."""
    open_jobs = _in_order(conn, sa.select(jobs).where(sa.text(OPEN)))
    by_id = {job.id: job for job in open_jobs}
    parents = {job.parent for job in open_jobs if job.parent is not None}
    open_clusters = [
        row_to_cluster(row)
        for row in conn.execute(sa.select(clusters).where(sa.text(OPEN)).order_by(clusters.c.created_at)).mappings()
    ]
    parents |= {cluster.parent for cluster in open_clusters if cluster.parent is not None}
    ended_parents = _ended(conn, parents - by_id.keys()).keys()
    stopping = {parent for parent in parents & by_id.keys() if by_id[parent].wanted is Wanted.STOP}
    used = {job.cluster for job in open_jobs if job.cluster is not None} - {cluster.id for cluster in open_clusters}
    return Recorded(
        revision=revision,
        jobs=tuple(open_jobs),
        ended=_ended(conn, set(shown) - by_id.keys()),
        gone_parents=frozenset(ended_parents | stopping),
        known_parents=frozenset(ended_parents | (parents & by_id.keys())),
        clusters=tuple(open_clusters),
        gone_clusters=frozenset(_ended_clusters(conn, used)),
    )


def _ended(conn: sa.Connection, job_ids: set[str]) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    for chunk in chunks(sorted(job_ids)):
        query = sa.select(jobs.c.id, jobs.c.state_since).where(jobs.c.id.in_(chunk), jobs.c.state == State.ENDED.value)
        found.update((row.id, row.state_since) for row in conn.execute(query))
    return found


def _ended_clusters(conn: sa.Connection, cluster_ids: set[str]) -> set[str]:
    found: set[str] = set()
    for chunk in chunks(sorted(cluster_ids)):
        query = sa.select(clusters.c.id).where(clusters.c.id.in_(chunk), clusters.c.state == ClusterState.ENDED.value)
        found.update(conn.scalars(query))
    return found
