"""Recording a batch: idempotent, admitted and inserted in one transaction."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from cryptography.fernet import Fernet

from sampan_hub.jobs.admission import Held, Usage, admit, allowed_now
from sampan_hub.jobs.drafts import BatchConflict, BatchDraft, BatchOutcome, ItemDraft, ItemOutcome, Refusal
from sampan_hub.jobs.keys import make_batch_id, make_job_id
from sampan_hub.jobs.model import Job, Kind, Resources, State, Wanted
from sampan_hub.jobs.store.engine import Tx
from sampan_hub.jobs.store.rows import rows_to_jobs
from sampan_hub.jobs.store.tables import HOLDS, batches, job_secrets, jobs, site
from sampan_hub.jobs.store.writing import insert_jobs, read_cluster, read_jobs
from sampan_hub.settings.model import Limits


def submit(tx: Tx, draft: BatchDraft, limits: Limits, now: datetime, *, fernet: Fernet, mac_key: bytes) -> BatchOutcome:
    """Admit and record what is not recorded yet; see `Store.submit`."""
    batch = make_batch_id(draft.submitter, draft.key)
    _ensure_batch(tx, batch, draft, now, mac_key)
    outcomes: dict[int, ItemOutcome] = {
        job.index: ItemOutcome(job.index, job, None) for job in _recorded(tx.conn, batch)
    }
    missing = [index for index in range(len(draft.items)) if index not in outcomes]
    usage = read_usage(tx.conn, draft.owner, draft.project, draft.tenant)
    refusals = _decide(tx.conn, draft, limits, usage, missing)
    accepted = [index for index in missing if refusals.get(index) is None]
    new = _insert(tx, draft, batch, accepted, now, fernet)
    outcomes.update((job.index, ItemOutcome(job.index, job, None)) for job in new)
    outcomes.update((index, ItemOutcome(index, None, refusal)) for index, refusal in refusals.items())
    for job in new:
        usage = usage.plus(job.resources)
    left = allowed_now(usage, limits, draft.owner, draft.project, draft.items[-1].resources)
    return BatchOutcome(
        batch, tuple(outcomes[index] for index in range(len(draft.items))), left, read_revision(tx.conn)
    )


def read_usage(conn: sa.Connection, owner: str, project: str, tenant: str) -> Usage:
    """What the owner, the project and the site hold: jobs neither ended nor lost."""
    rows = conn.execute(
        sa.select(
            jobs.c.owner == owner,
            sa.and_(jobs.c.project == project, jobs.c.tenant == tenant),
            sa.func.sum(jobs.c.cores_milli),
            sa.func.sum(jobs.c.memory_bytes),
            sa.func.sum(jobs.c.gpus),
            sa.func.count(),
        )
        .where(sa.text(HOLDS))
        .group_by(sa.literal_column("1"), sa.literal_column("2"))
    )
    user = project_held = whole = Held()
    for is_owner, is_project, cores, memory, gpus, count in rows:
        held = Held(Resources(int(cores), int(memory), int(gpus)), count)
        whole = _add(whole, held)
        user = _add(user, held) if is_owner else user
        project_held = _add(project_held, held) if is_project else project_held
    return Usage(user, project_held, whole)


def read_revision(conn: sa.Connection) -> int:
    return int(conn.execute(sa.select(site.c.revision)).scalar_one())


def _add(one: Held, other: Held) -> Held:
    return Held(one.resources + other.resources, one.jobs + other.jobs)


def _ensure_batch(tx: Tx, batch: str, draft: BatchDraft, now: datetime, mac_key: bytes) -> None:
    content = _content(draft, mac_key)
    known = tx.conn.execute(sa.select(batches.c.content).where(batches.c.id == batch)).scalar_one_or_none()
    if known is None:
        row = {"id": batch, "submitter": draft.submitter, "batch_key": draft.key, "content": content, "created_at": now}
        tx.conn.execute(sa.insert(batches).values(row))
    elif known != content:
        raise BatchConflict(
            f"The batch key {draft.key} was used before for another request. Use a new key for a new request."
        )


def _content(draft: BatchDraft, mac_key: bytes) -> str:
    """A keyed digest of what was asked for: secrets take part, so it must not be searchable."""
    shared = [
        draft.kind.value, draft.owner, draft.tenant, draft.project, draft.environment, draft.backend, draft.parent,
        draft.cluster, dict(draft.options), dict(draft.secrets), draft.strict,
    ]  # fmt: skip
    asked = [[item.name, item.size] for item in draft.items]
    text = json.dumps([shared, asked], sort_keys=True, separators=(",", ":"))
    return hmac.new(mac_key, text.encode(), hashlib.sha256).hexdigest()


def _recorded(conn: sa.Connection, batch: str) -> list[Job]:
    return rows_to_jobs(conn.execute(sa.select(jobs).where(jobs.c.batch == batch)).mappings())


def _decide(
    conn: sa.Connection, draft: BatchDraft, limits: Limits, usage: Usage, missing: Sequence[int]
) -> dict[int, Refusal]:
    """The refused items; the rest of `missing` is admitted."""
    if not missing:
        return {}
    whole = _refusal_of_all(conn, draft)
    if whole is not None:
        return dict.fromkeys(missing, whole)
    refusals = _taken_names(conn, draft, missing) if draft.kind is Kind.NOTEBOOK else {}
    asking = [index for index in missing if index not in refusals]
    asks = [draft.items[index].resources for index in asking]
    decisions = admit(usage, limits, draft.owner, draft.project, asks, strict=draft.strict)
    refusals.update((index, refusal) for index, refusal in zip(asking, decisions, strict=True) if refusal)
    return refusals


def _refusal_of_all(conn: sa.Connection, draft: BatchDraft) -> Refusal | None:
    sentence = conn.execute(sa.select(site.c.paused)).scalar_one()
    if sentence is not None:
        return Refusal("paused", sentence)
    if draft.parent is not None:
        parent = read_jobs(conn, [draft.parent]).get(draft.parent)
        if parent is None or parent.is_ended or parent.wanted is Wanted.STOP:
            return Refusal("parent-ended", f"The notebook {draft.parent} that this would belong to has ended.")
    if draft.cluster is not None:
        cluster = read_cluster(conn, draft.cluster)
        if cluster is None or cluster.is_ended:
            return Refusal("cluster-ended", f"The cluster {draft.cluster} that this would belong to has ended.")
        if draft.kind is Kind.SCHEDULER and (host := _find_host(conn, draft.cluster)) is not None:
            return Refusal("host-exists", f"The cluster {cluster.name} has its host already.", existing=host)
    return None


def _find_host(conn: sa.Connection, cluster: str) -> str | None:
    """The job that is this cluster's host; it has at most one."""
    query = sa.select(jobs.c.id).where(jobs.c.cluster == cluster, jobs.c.kind == Kind.SCHEDULER.value)
    found: str | None = conn.scalars(query).first()
    return found


def _taken_names(conn: sa.Connection, draft: BatchDraft, missing: Sequence[int]) -> dict[int, Refusal]:
    """At most one notebook per owner and name holds it; the index `uq_jobs_open_notebook` keeps what this decides."""
    held = sa.select(jobs.c.name, jobs.c.id).where(
        jobs.c.owner == draft.owner, sa.text("kind = 'notebook'"), sa.text(HOLDS)
    )
    taken: dict[str, str | None] = {row.name: row.id for row in conn.execute(held)}
    refusals: dict[int, Refusal] = {}
    for index in missing:
        name = draft.items[index].name
        if name in taken:
            called = f"called '{name}' " if name else ""
            text = f"A notebook {called}of {draft.owner} is there already. Use it, or stop it first."
            refusals[index] = Refusal("notebook-exists", text, existing=taken[name])
        else:
            taken[name] = None
    return refusals


def _insert(tx: Tx, draft: BatchDraft, batch: str, accepted: Sequence[int], now: datetime, fernet: Fernet) -> list[Job]:
    if not accepted:
        return []
    instance = tx.conn.execute(sa.select(site.c.instance)).scalar_one()
    new = [_make_job(draft, batch, index, draft.items[index], instance, now) for index in accepted]
    recorded = insert_jobs(tx, new, by=draft.submitter, now=now)
    plain = json.dumps(dict(draft.secrets)).encode()
    rows = [{"job_id": job.id, "ciphertext": fernet.encrypt(plain)} for job in recorded]
    tx.conn.execute(sa.insert(job_secrets), rows)
    return recorded


def _make_job(draft: BatchDraft, batch: str, index: int, item: ItemDraft, instance: str, now: datetime) -> Job:
    return Job(
        id=make_job_id(instance, batch, index),
        kind=draft.kind,
        name=item.name,
        owner=draft.owner,
        project=draft.project,
        tenant=draft.tenant,
        size=item.size,
        resources=item.resources,
        environment=draft.environment,
        backend=draft.backend,
        batch=batch,
        index=index,
        created_at=now,
        state=State.ACCEPTED,
        state_since=now,
        parent=draft.parent,
        cluster=draft.cluster,
        price_micros_per_hour=item.price_micros_per_hour,
        options=dict(draft.options),
    )
