"""Cluster rows and their leases."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from sampan_hub.jobs.drafts import ClusterDraft, NoSuchCluster, StoreError
from sampan_hub.jobs.keys import make_random_id
from sampan_hub.jobs.model import Cluster, ClusterState, Wanted
from sampan_hub.jobs.store.engine import Tx
from sampan_hub.jobs.store.rows import cluster_to_row, row_to_cluster
from sampan_hub.jobs.store.tables import OPEN, clusters, site
from sampan_hub.jobs.store.writing import read_cluster, read_jobs, update_cluster

LEASE = timedelta(seconds=60)


def find_cluster(conn: sa.Connection, cluster_id: str) -> Cluster:
    """The cluster, or NoSuchCluster."""
    cluster = read_cluster(conn, cluster_id)
    if cluster is None:
        raise NoSuchCluster(f"There is no cluster {cluster_id}.")
    return cluster


def select_clusters(
    conn: sa.Connection, *, owner: str | None, parent: str | None, ended_after: datetime | None
) -> list[Cluster]:
    """Open clusters, and those that ended late enough; see `Store.clusters`."""
    wanted = sa.text(OPEN) if ended_after is None else sa.or_(sa.text(OPEN), clusters.c.ended_at > ended_after)
    query = sa.select(clusters).where(wanted).order_by(clusters.c.created_at, clusters.c.id)
    if owner is not None:
        query = query.where(clusters.c.owner == owner)
    if parent is not None:
        query = query.where(clusters.c.parent == parent)
    return [row_to_cluster(row) for row in conn.execute(query).mappings()]


def ensure(tx: Tx, draft: ClusterDraft, now: datetime) -> Cluster:
    """The open cluster of this name, owner and parent; see `Store.ensure_cluster`."""
    for cluster in select_clusters(tx.conn, owner=draft.owner, parent=draft.parent, ended_after=None):
        if cluster.name == draft.name and cluster.parent == draft.parent:
            return update_cluster(tx, cluster, replace(cluster, lease_until=now + LEASE))
    _check_may_begin(tx.conn, draft)
    instance = tx.conn.execute(sa.select(site.c.instance)).scalar_one()
    cluster = Cluster(
        id=make_random_id(instance),
        name=draft.name,
        owner=draft.owner,
        project=draft.project,
        tenant=draft.tenant,
        parent=draft.parent,
        size=draft.size,
        backend=draft.backend,
        created_at=now,
        state=ClusterState.STARTING,
        state_since=now,
        lease_until=now + LEASE,
        idle_timeout_s=draft.idle_timeout_s,
        revision=tx.revision,
    )
    return insert(tx, cluster)


def insert(tx: Tx, cluster: Cluster) -> Cluster:
    """Record a cluster that has no row."""
    tx.conn.execute(sa.insert(clusters).values(cluster_to_row(cluster)))
    return cluster


def _check_may_begin(conn: sa.Connection, draft: ClusterDraft) -> None:
    sentence = conn.execute(sa.select(site.c.paused)).scalar_one()
    if sentence is not None:
        raise StoreError(sentence)
    if draft.parent is None:
        return
    parent = read_jobs(conn, [draft.parent]).get(draft.parent)
    if parent is None or parent.is_ended or parent.wanted is Wanted.STOP:
        raise StoreError(f"The notebook {draft.parent} that the cluster {draft.name} would belong to has ended.")


def update(
    tx: Tx,
    cluster_id: str,
    now: datetime,
    *,
    state: ClusterState | None = None,
    scheduler: str | None = None,
    dashboard: str | None = None,
    busy: bool | None = None,
) -> Cluster:
    """What its host says; see `Store.update_cluster`."""
    cluster = find_cluster(tx.conn, cluster_id)
    if cluster.is_ended:
        return cluster
    after = replace(
        cluster,
        lease_until=now + LEASE,
        scheduler=scheduler if scheduler is not None else cluster.scheduler,
        dashboard=dashboard if dashboard is not None else cluster.dashboard,
        busy_at=now if busy else cluster.busy_at,
    )
    if state is not None and state is not cluster.state:
        after = replace(after, state=state, state_since=now)
    return update_cluster(tx, cluster, after)
