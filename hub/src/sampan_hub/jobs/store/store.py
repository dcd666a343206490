"""The store: every method is one transaction, synchronous (call it in a worker thread), with the time passed in.

SQLite and PostgreSQL behave alike: one writer at a time, so the revision counter never shows a number before the
changes of every smaller one are visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sampan_hub.jobs.admission import Usage
from sampan_hub.jobs.drafts import (
    BatchDraft,
    BatchOutcome,
    Claim,
    ClusterDraft,
    Report,
    Selection,
)
from sampan_hub.jobs.model import Cluster, ClusterState, Finding, Job, JobEvent
from sampan_hub.settings.model import Limits


class Store:
    """Wanted and recorded state of one installation."""

    def __init__(self, url: str, *, secrets_key: bytes) -> None:
        """`url`: SQLAlchemy's. `secrets_key`: any bytes; what is kept encrypted cannot be read with another."""

    def close(self) -> None:
        """Give all connections back."""

    def migrate(self) -> None:
        """Bring the schema up to date, once, under a lock; an SQLite file is copied before an upgrade. Idempotent."""

    def ensure_instance_id(self, proposed: str | None = None) -> str:
        """The installation's id: the recorded one, else `proposed` (from the state folder), else a new one."""

    def check(self) -> None:
        """Raise unless the database answers (for /readyz)."""

    # Revision and its listeners

    def revision(self) -> int:
        """The newest revision. Another process may have raised it: wait on `subscribe` and look here now and then."""

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener(revision)` after each commit of this process that changed something, in the committing
        thread (so: hand over with `loop.call_soon_threadsafe`). Returns the function that ends it."""

    # Asking for work

    def submit(self, draft: BatchDraft, limits: Limits, now: datetime) -> BatchOutcome:
        """Admit and record a batch. Repeated with the same content it answers the same jobs and tries refused items
        again; with other content BatchConflict. Over a limit the first items that fit are accepted."""

    def usage(self, owner: str, project: str, tenant: str = "") -> Usage:
        """What limits count at this moment; give it to `admission.allowed_now`."""

    def pause(self, sentence: str | None) -> None:
        """Refuse new work with this sentence; None takes it again."""

    def paused(self) -> str | None:
        """The sentence of the pause, if any."""

    # Looking

    def jobs(self, selection: Selection) -> tuple[int, list[Job]]:
        """The selection's full state and the revision it is the state of; in order of request."""

    def job(self, job_id: str) -> Job:
        """One job; NoSuchJob."""

    def events(self, job_id: str) -> list[JobEvent]:
        """The history of one job, oldest first."""

    # Ending work

    def stop(self, job_ids: Sequence[str], *, by: str, reason: str, now: datetime) -> dict[str, Job]:
        """Want these jobs stopped; one never submitted is ended at once. Returns those that exist, as they are now
        (`ended` or on the way there); ids that are missing in the answer are unknown. Idempotent."""

    # What jobs say

    def claim(self, job_id: str, run_token: str, now: datetime) -> Claim:
        """Bind the first valid run and hand over its secrets; the same run may ask again until its first report.
        ClaimRefused for every other run, and for jobs ended, lost or wanted stopped; NoSuchJob."""

    def report(self, job_id: str, report: Report, now: datetime) -> Job:
        """Record what the claimed job says and erase its secrets. A notebook is running from its first address on.
        Ignored (returns the job) once ended; NoSuchJob; StoreError when it never claimed."""

    # Clusters

    def ensure_cluster(self, draft: ClusterDraft, now: datetime) -> Cluster:
        """The open cluster of this name, owner and parent, made if there is none; its lease begins now. StoreError
        when the parent has ended; the pause sentence applies to a new one."""

    def cluster(self, cluster_id: str) -> Cluster:
        """One cluster; NoSuchCluster."""

    def clusters(
        self, *, owner: str | None = None, parent: str | None = None, ended_after: datetime | None = None
    ) -> list[Cluster]:
        """Open clusters (and those that ended after the given time), oldest first."""

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

    def renew_lease(self, cluster_id: str, now: datetime) -> Cluster:
        """Renew the lease without a new revision. NoSuchCluster; an ended cluster is returned unchanged."""

    def end_cluster(self, cluster_id: str, *, by: str, code: str, text: str, now: datetime) -> Cluster:
        """End a cluster; its workers are stopped by the reconciler. Idempotent."""

    # Findings

    def findings(self) -> list[Finding]:
        """What the reconciler found and an administrator should look at."""

    def replace_findings(self, backend: str, findings: Iterable[Finding], now: datetime) -> None:
        """The present findings of one backend; unchanged ones cause no write."""
