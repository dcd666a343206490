"""What jobs and people say to the store: claims, reports, stops."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

import sqlalchemy as sa
from cryptography.fernet import Fernet

from sampan_hub.jobs.drafts import Claim, ClaimRefused, NoSuchJob, Report
from sampan_hub.jobs.model import Job, Kind, Reason, RunIdentity, State, Wanted
from sampan_hub.jobs.store import hosting
from sampan_hub.jobs.store.engine import Tx
from sampan_hub.jobs.store.tables import job_secrets
from sampan_hub.jobs.store.writing import erase_secrets, read_jobs, update_jobs

_CODE = re.compile(r"^[a-z][a-z0-9-]{0,40}$")
_BEFORE_RUNNING = frozenset({State.ACCEPTED, State.SUBMITTING, State.QUEUED, State.STARTING})


def find_job(conn: sa.Connection, job_id: str) -> Job:
    """The job, or NoSuchJob."""
    job = read_jobs(conn, [job_id]).get(job_id)
    if job is None:
        raise NoSuchJob(f"There is no job {job_id}.")
    return job


def stop(tx: Tx, job_ids: Sequence[str], *, by: str, reason: str, now: datetime) -> dict[str, Job]:
    """Want these jobs stopped; see `Store.stop`."""
    found = read_jobs(tx.conn, job_ids)
    why = make_stop_reason(by, reason)
    pairs = [(job, _stopped(job, why, now)) for job in found.values()]
    return {job.id: job for job in update_jobs(tx, pairs, by=by, now=now)}


def make_stop_reason(by: str, reason: str) -> Reason:
    """`reason` is a code, or words of whoever asked."""
    if _CODE.match(reason):
        return Reason(reason, f"Stopped by {by}.")
    return Reason("asked", f"Stopped by {by}: {reason}")


def _stopped(job: Job, why: Reason, now: datetime) -> Job:
    if job.is_ended or job.wanted is Wanted.STOP:
        return job
    wanted = job.with_(wanted=Wanted.STOP, reason=why, position=None)
    return wanted.with_(state=State.ENDED, ended_at=now) if job.state is State.ACCEPTED else wanted


def claim(tx: Tx, job_id: str, run_token: str, now: datetime, fernet: Fernet) -> Claim:
    """Bind the first valid run; see `Store.claim`."""
    job = find_job(tx.conn, job_id)
    _refuse_claim(job, run_token)
    ciphertext = tx.conn.execute(
        sa.select(job_secrets.c.ciphertext).where(job_secrets.c.job_id == job_id)
    ).scalar_one_or_none()
    if ciphertext is None:
        _refuse(job, "claimed", "It was claimed before and its secrets are gone.")
    claimed = job
    if job.claimed_at is None:
        claimed = job.with_(run=RunIdentity(run_token), claimed_at=now, started_at=job.started_at or now, position=None)
        if job.state in _BEFORE_RUNNING:
            ready = State.RUNNING if job.kind is Kind.WORKER else State.STARTING
            claimed = claimed.with_(state=ready, reason=None)
    (recorded,) = update_jobs(tx, [(job, claimed)], by=job_id, now=now)
    if job.kind is Kind.SCHEDULER and job.cluster is not None:
        hosting.update(tx, job.cluster, now)  # a host has a lease's time from here on, however long it waited before
    return Claim(recorded, json.loads(fernet.decrypt(ciphertext)))


def _refuse_claim(job: Job, run_token: str) -> None:
    if job.is_ended:
        _refuse(job, "ended", "The job has ended.")
    if job.wanted is Wanted.STOP:
        _refuse(job, "stopped", "The job was stopped before it began.")
    if job.lost:
        _refuse(job, "lost", "The job was given up after it could not be seen for too long.")
    if job.run is not None and job.run.token != run_token:
        _refuse(job, "other-run", "Another run works under this id.")


def _refuse(job: Job, code: str, text: str) -> NoReturn:
    raise ClaimRefused(job.id, code, text)


def report(tx: Tx, job_id: str, said: Report, now: datetime) -> Job:
    """Record what a claimed job says; see `Store.report`."""
    job = find_job(tx.conn, job_id)
    if job.is_ended:
        return job
    erase_secrets(tx, [job_id])
    (recorded,) = update_jobs(tx, [(job, _reported(job, said, now))], by=job_id, now=now)
    return recorded


def _reported(job: Job, said: Report, now: datetime) -> Job:
    after = job
    if job.claimed_at is None:
        # Only a claim hands over the credential for this: the record is older than it, a lost or restored database's.
        after = after.with_(claimed_at=now)
    if said.address is not None:
        after = after.with_(address=said.address)
    # A notebook speaks of its kernels only once it serves; without its claim its address may be lost as well.
    serves = said.address is not None or (job.claimed_at is None and said.busy is not None)
    is_ready = job.kind is not Kind.NOTEBOOK or serves
    if is_ready and job.state in _BEFORE_RUNNING:
        after = after.with_(state=State.RUNNING, reason=None, started_at=job.started_at or now)
    if said.busy is not None and (said.busy or job.busy):
        after = after.with_(busy=said.busy, busy_at=now)
    if said.failure is not None:
        after = after.with_(reason=said.failure)
    return after
