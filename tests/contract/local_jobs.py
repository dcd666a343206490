"""Real local jobs for tests: specs that run small programs, a backend on a temporary folder, and a clean end."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import Identity, JobSpec, Listing, Observed, Phase
from sampan_hub.backends.local import LocalBackend
from sampan_hub.backends.local.shim import procfs
from sampan_hub.jobs.keys import make_instance_id, make_job_id, sign
from sampan_hub.jobs.model import Kind, Resources

SIGNING_KEY = b"a key of this test"
SMALL = Resources(cores_milli=1000, memory_bytes=1 << 28)
RUN_ON = ("sleep", "1000")


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-I", "-S", "-c", code)


def make_spec(
    instance: str,
    argv: tuple[str, ...] = RUN_ON,
    *,
    kind: Kind = Kind.WORKER,
    owner: str = "ana",
    resources: Resources = SMALL,
    env: Mapping[str, str] | None = None,
    private_files: Mapping[str, bytes] | None = None,
    folder: str = "/",
    uid: int | None = None,
    project: str = "personal",
) -> JobSpec:
    batch = secrets.token_hex(12).translate(str.maketrans("0189", "ghij"))
    identity = Identity(
        job_id=make_job_id(instance, batch, 0),
        kind=kind,
        name="w-0",
        owner=owner,
        project=project,
        tenant="",
        size="small",
        environment="default",
        parent=None,
        cluster=None,
        batch=batch,
        index=0,
        resources=resources,
        price_micros_per_hour=None,
        uid=os.getuid() if uid is None else uid,
        created_at=datetime.now(UTC),
    )
    return JobSpec(sign(SIGNING_KEY, identity), argv, env or {}, folder, private_files or {"bootstrap.json": b"{}"})


async def until(condition: Callable[[], bool], what: str, limit_s: float = 20) -> None:
    """Wait for a condition, bounded; what did not come about is named."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what}"
        await asyncio.sleep(0.02)


def processes_of(job_id: str) -> list[int]:
    """Living processes that carry this job's mark, found without the backend."""
    return _carrying(f"SAMPAN_JOB={job_id}".encode())


def _carrying(mark: bytes) -> list[int]:
    found = []
    for pid, stat in procfs.all_stats().items():
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if stat.is_alive and any(variable.startswith(mark) for variable in variables):
            found.append(pid)
    return found


class LocalJobs:
    """A backend of a random instance on its own folder; `close` ends everything it started."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root
        self.instance = make_instance_id()
        self.options = {"cores_milli": 64_000, "memory_bytes": 1 << 36, "stop_grace_s": 1.0, **options}
        self.backend = self.reopen()

    def reopen(self) -> LocalBackend:
        """The backend as a restarted service makes it."""
        self.backend = LocalBackend("local", self.root, self.instance, **self.options)
        return self.backend

    def spec(self, argv: tuple[str, ...] = RUN_ON, **options: Any) -> JobSpec:
        return make_spec(self.instance, argv, **options)

    def folder(self, job_id: str) -> Path:
        return self.root / job_id

    async def start(self, argv: tuple[str, ...] = RUN_ON, **options: Any) -> str:
        spec = self.spec(argv, **options)
        submitted = await self.backend.submit([spec])
        assert submitted.accepted == {spec.job_id}, submitted
        return spec.job_id

    async def see(self, job_id: str) -> Observed | None:
        return find(await self.backend.observe(), job_id)

    async def until_ended(self, job_id: str, limit_s: float = 20) -> Observed:
        deadline = time.monotonic() + limit_s
        while (seen := await self.see(job_id)) is None or seen.phase is not Phase.ENDED:
            assert time.monotonic() < deadline, f"not ended within {limit_s:g} s: {seen}"
            await asyncio.sleep(0.02)
        return seen

    async def until_output(self, job_id: str, text: str) -> str:
        """The job's output once `text` is in it."""
        deadline = time.monotonic() + 20
        while text not in (output := "\n".join((await self.backend.read_log(job_id, 1000)).lines)):
            assert time.monotonic() < deadline, f"{text!r} never came, but: {output!r}"
            await asyncio.sleep(0.02)
        return output

    async def close(self) -> None:
        deadline = time.monotonic() + 30
        while pids := _carrying(f"SAMPAN_JOB={self.instance}.".encode()):
            assert time.monotonic() < deadline, f"these processes do not end: {pids}"
            jobs = (await self.backend.observe()).jobs
            await self.backend.cancel([job.job_id for job in jobs if job.phase is not Phase.ENDED])
            await asyncio.sleep(0.02)


def find(listing: Listing, job_id: str) -> Observed | None:
    return next((job for job in listing.jobs if job.job_id == job_id), None)
