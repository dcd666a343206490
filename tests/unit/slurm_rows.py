"""Rows of a listing and identities for tests of the Slurm backend's decisions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sampan_hub.backends.base import Identity, JobSpec
from sampan_hub.backends.slurm.listing import Row
from sampan_hub.backends.slurm.names import JobName, make_stage
from sampan_hub.backends.slurm.states import read_state
from sampan_hub.jobs.keys import make_job_id, sign
from sampan_hub.jobs.model import Kind, Resources

KEY = b"a signing key"
INSTANCE = "abcdefgh"
BATCH = "abcdefghijklmnopqrstuvwx"
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
NAME = JobName(INSTANCE, BATCH, 0)


def make_identity(index: int = 0, **changes: Any) -> Identity:
    """Of one worker of alice's."""
    identity = Identity(
        job_id=make_job_id(INSTANCE, changes.get("batch", BATCH), index),
        kind=Kind.WORKER,
        name=f"calc-{index}",
        owner="alice",
        project="personal",
        tenant="",
        size="small",
        environment="default",
        parent=f"{INSTANCE}.aaaaaaaaaaaaaaaa",
        cluster=f"{INSTANCE}.bbbbbbbbbbbbbbbb",
        batch=BATCH,
        index=index,
        resources=Resources(1500, 1 << 30),
        price_micros_per_hour=50_000,
        uid=4001,
        created_at=NOW,
    )
    return sign(KEY, replace(identity, **changes))


def make_spec(index: int = 0, **changes: Any) -> JobSpec:
    identity = make_identity(index, **changes)
    files = {"bootstrap.json": f'{{"job": "{identity.job_id}"}}'.encode()}
    return JobSpec(
        identity, ("/opt/env/bin/python", "-m", "sampan.worker"), {"SAMPAN_JOB": identity.job_id}, "~", files
    )


def make_row(state: str = "RUNNING", slurm_id: str = "12", **changes: Any) -> Row:
    """One job of alice's, as it is listed."""
    row = Row(
        slurm_id=slurm_id,
        raw_id=slurm_id.partition("_")[0],
        state=read_state(state),
        user="alice",
        uid=4001,
        partition="compute",
        priority=100,
        start=NOW,
        end=None,
        node="node1",
        reason="None",
        name=str(NAME),
        folder=f"/home/alice/.sampan/jobs/{make_stage(NAME, 0)}",
        comment="",
    )
    return replace(row, **changes)
