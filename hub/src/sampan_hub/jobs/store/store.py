"""The store: every method is one transaction, synchronous (call it in a worker thread), with the time passed in.

SQLite and PostgreSQL behave alike: one writer at a time, so the revision counter never shows a number before the
changes of every smaller one are visible.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import sqlalchemy as sa
from cryptography.fernet import Fernet

from sampan_hub.jobs.admission import Usage
from sampan_hub.jobs.drafts import (
    BatchDraft,
    BatchOutcome,
    Claim,
    ClusterDraft,
    Report,
    Selection,
)
from sampan_hub.jobs.keys import make_instance_id
from sampan_hub.jobs.model import Cluster, ClusterState, Finding, Job, JobEvent, Reason
from sampan_hub.jobs.plan.actions import Action
from sampan_hub.jobs.plan.world import Recorded
from sampan_hub.jobs.store import applying, hosting, migrate, selecting, speaking, submitting, writing
from sampan_hub.jobs.store.engine import Database
from sampan_hub.jobs.store.rows import row_to_event
from sampan_hub.jobs.store.tables import findings, job_events, site
from sampan_hub.settings.model import Limits

logger = logging.getLogger(__name__)


class Store:
    """Wanted and recorded state of one installation."""

    def __init__(self, url: str, *, secrets_key: bytes) -> None:
        """`url`: SQLAlchemy's. `secrets_key`: any bytes; what is kept encrypted cannot be read with another."""
        self._url = url
        self._database = Database(url)
        digest = hashlib.sha256(b"sampan secrets\n" + secrets_key).digest()
        self._fernet = Fernet(base64.urlsafe_b64encode(digest))
        self._mac_key = hashlib.sha256(b"sampan batches\n" + secrets_key).digest()

    def close(self) -> None:
        """Give all connections back."""
        self._database.engine.dispose()

    def migrate(self) -> None:
        """Bring the schema up to date, once, under a lock; an SQLite file is copied before an upgrade. Idempotent."""
        migrate.migrate(self._url)

    def ensure_instance_id(self, proposed: str | None = None) -> str:
        """The installation's id: the recorded one, else `proposed` (from the state folder), else a new one."""
        with self._database.write() as tx:
            recorded = tx.conn.execute(sa.select(site.c.instance)).scalar_one_or_none()
            if recorded is not None:
                return str(recorded)
            instance = proposed or make_instance_id()
            tx.conn.execute(sa.insert(site).values(single=1, instance=instance, revision=0))
            return instance

    def check(self) -> None:
        """Raise unless the database answers (for /readyz)."""
        self.revision()

    # Revision and its listeners

    def revision(self) -> int:
        """The newest revision. Another process may have raised it: wait on `subscribe` and look here now and then."""
        with self._database.read() as conn:
            return submitting.read_revision(conn)

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener(revision)` after each commit of this process that changed something, in the committing
        thread (so: hand over with `loop.call_soon_threadsafe`). Returns the function that ends it."""
        return self._database.subscribe(listener)

    # Asking for work

    def submit(self, draft: BatchDraft, limits: Limits, now: datetime) -> BatchOutcome:
        """Admit and record a batch. Repeated with the same content it answers the same jobs and tries refused items
        again; with other content BatchConflict. Over a limit the first items that fit are accepted."""
        with self._database.write() as tx:
            return submitting.submit(tx, draft, limits, now, fernet=self._fernet, mac_key=self._mac_key)

    def usage(self, owner: str, project: str, tenant: str = "") -> Usage:
        """What limits count at this moment; give it to `admission.allowed_now`."""
        with self._database.read() as conn:
            return submitting.read_usage(conn, owner, project, tenant)

    def pause(self, sentence: str | None) -> None:
        """Refuse new work with this sentence; None takes it again."""
        with self._database.write() as tx:
            tx.conn.execute(sa.update(site).values(paused=sentence, revision=tx.revision))

    def paused(self) -> str | None:
        """The sentence of the pause, if any."""
        with self._database.read() as conn:
            sentence = conn.execute(sa.select(site.c.paused)).scalar_one()
            return None if sentence is None else str(sentence)

    # Looking

    def jobs(self, selection: Selection) -> tuple[int, list[Job]]:
        """The selection's full state and the revision it is the state of; in order of request."""
        with self._database.read() as conn:
            return submitting.read_revision(conn), selecting.select_jobs(conn, selection)

    def job(self, job_id: str) -> Job:
        """One job; NoSuchJob."""
        with self._database.read() as conn:
            return speaking.find_job(conn, job_id)

    def events(self, job_id: str) -> list[JobEvent]:
        """The history of one job, oldest first."""
        query = sa.select(job_events).where(job_events.c.job_id == job_id).order_by(job_events.c.revision)
        with self._database.read() as conn:
            return [row_to_event(row) for row in conn.execute(query).mappings()]

    # Ending work

    def stop(self, job_ids: Sequence[str], *, by: str, reason: str, now: datetime) -> dict[str, Job]:
        """Want these jobs stopped; one never submitted is ended at once. Returns those that exist, as they are now
        (`ended` or on the way there); ids that are missing in the answer are unknown. Idempotent."""
        with self._database.write() as tx:
            return speaking.stop(tx, job_ids, by=by, reason=reason, now=now)

    # What jobs say

    def claim(self, job_id: str, run_token: str, now: datetime) -> Claim:
        """Bind the first valid run and hand over its secrets; the same run may ask again until its first report.
        ClaimRefused for every other run, and for jobs ended, lost or wanted stopped; NoSuchJob."""
        with self._database.write() as tx:
            return speaking.claim(tx, job_id, run_token, now, self._fernet)

    def report(self, job_id: str, report: Report, now: datetime) -> Job:
        """Record what the claimed job says and erase its secrets. A notebook is running from its first address on.
        Ignored (returns the job) once ended; NoSuchJob. A job that claimed before this record was is recorded so."""
        with self._database.write() as tx:
            return speaking.report(tx, job_id, report, now)

    # Clusters

    def ensure_cluster(self, draft: ClusterDraft, now: datetime) -> Cluster:
        """The open cluster of this name, owner and parent, made if there is none; its lease begins now. StoreError
        when the parent has ended; the pause sentence applies to a new one."""
        with self._database.write() as tx:
            return hosting.ensure(tx, draft, now)

    def cluster(self, cluster_id: str) -> Cluster:
        """One cluster; NoSuchCluster."""
        with self._database.read() as conn:
            return hosting.find_cluster(conn, cluster_id)

    def clusters(
        self, *, owner: str | None = None, parent: str | None = None, ended_after: datetime | None = None
    ) -> list[Cluster]:
        """Open clusters (and those that ended after the given time), oldest first."""
        with self._database.read() as conn:
            return hosting.select_clusters(conn, owner=owner, parent=parent, ended_after=ended_after)

    def update_cluster(
        self,
        cluster_id: str,
        now: datetime,
        *,
        state: ClusterState | None = None,
        scheduler: str | None = None,
        dashboard: str | None = None,
        busy: bool | None = None,
    ) -> Cluster:
        """What its host says of it; renews the lease. NoSuchCluster; an ended cluster is returned unchanged."""
        with self._database.write() as tx:
            return hosting.update(tx, cluster_id, now, state=state, scheduler=scheduler, dashboard=dashboard, busy=busy)

    def renew_lease(self, cluster_id: str, now: datetime) -> Cluster:
        """Renew the lease without a new revision. NoSuchCluster; an ended cluster is returned unchanged."""
        with self._database.write() as tx:
            return hosting.update(tx, cluster_id, now)

    def end_cluster(self, cluster_id: str, *, by: str, code: str, text: str, now: datetime) -> Cluster:
        """End a cluster; its workers are stopped by the reconciler. Idempotent."""
        with self._database.write() as tx:
            cluster = hosting.find_cluster(tx.conn, cluster_id)
            ended = writing.end_cluster(tx, cluster, Reason(code, text), now)
        logger.info("cluster %s ended by %s: %s", cluster_id, by, code)
        return ended

    # Findings

    def findings(self) -> list[Finding]:
        """What the reconciler found and an administrator should look at."""
        with self._database.read() as conn:
            rows = conn.execute(sa.select(findings).order_by(findings.c.found_at)).mappings()
            return [Finding(row["code"], row["subject"], row["text"], row["remedy"], row["backend"]) for row in rows]

    # The reconciler's side

    def recorded(self, shown: Iterable[str] = ()) -> Recorded:
        """What a plan depends on; `shown` are the ids that listings show alive."""
        with self._database.read() as conn:
            return selecting.read_recorded(conn, submitting.read_revision(conn), shown)

    def apply(self, actions: Sequence[Action], now: datetime) -> applying.Applied:
        """Record a plan by compare-and-set. What another service or a request changed meanwhile is skipped; the
        answer says which jobs are now this caller's to submit."""
        with self._database.write() as tx:
            return applying.apply(tx, actions, now)
