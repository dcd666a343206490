"""A real store, the real local backend and a reconciler; run as a program it dies hard at the n-th effect.

`python -m tests.contract.reconcile_rig FOLDER INSTANCE N` starts what the store wants, stops it, and is killed
just before (odd N) or just after (even N) the call number (N + 1) / 2 of those that change anything.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import Expected, JobSpec, Listing, Submitted
from sampan_hub.backends.local import LocalBackend
from sampan_hub.jobs.drafts import BatchDraft, ItemDraft, Selection
from sampan_hub.jobs.model import Job, Kind, Resources, State
from sampan_hub.jobs.reconcile import Reconciler
from sampan_hub.jobs.spec import Place, SpecRules
from sampan_hub.jobs.store import Store
from sampan_hub.settings.model import Limits, Settings
from tests.contract.local_jobs import SIGNING_KEY

EARLIER = timedelta(seconds=60)
"""How far back the program lives, so that its unanswered calls have timed out when the test goes on."""
PROGRAM = """#!/bin/sh
echo "$SAMPAN_JOB" >> "$STARTS"
exec sleep 1000
"""
"""Stands for the interpreter of a worker; one line for each time it starts."""


def open_store(folder: Path, instance: str) -> Store:
    store = Store(f"sqlite:///{folder / 'sampan.sqlite'}", secrets_key=b"a key of this test")
    store.migrate()
    store.ensure_instance_id(instance)
    return store


def open_backend(folder: Path, instance: str) -> LocalBackend:
    return LocalBackend("local", folder / "jobs", instance, cores_milli=8000, memory_bytes=1 << 33, stop_grace_s=1.0)


def ask_for_workers(store: Store, folder: Path, key: str, count: int) -> list[str]:
    program = folder / "program"
    if not program.exists():
        program.write_text(PROGRAM)
        program.chmod(0o700)
    draft = BatchDraft(
        key=key,
        submitter="hub",
        kind=Kind.WORKER,
        owner="ana",
        project="personal",
        tenant="ana",
        environment="default",
        backend="local",
        items=tuple(ItemDraft(f"w-{number}", "small", Resources(500, 1 << 28)) for number in range(count)),
        options={"interpreter": str(program), "folder": "/", "env": {"STARTS": str(folder / "starts")}},
    )
    outcome = store.submit(draft, Limits(), datetime.now(UTC))
    return [item.job.id for item in outcome.items if item.job is not None]


@asynccontextmanager
async def reconciling(store: Any, backend: Any, **options: Any) -> AsyncIterator[Reconciler]:
    """A reconciler that runs for the length of the block."""
    place = Place("http://127.0.0.1:9/services/sampan", lambda _: os.getuid())
    rules = SpecRules(b"k", SIGNING_KEY, {}, {"local": place})
    reconciler = Reconciler(store, {"local": backend}, Settings(), rules, **options)
    task = asyncio.create_task(reconciler.run())
    try:
        yield reconciler
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_jobs(store: Store, ids: Sequence[str], wanted: Callable[[Job], bool], what: str) -> list[Job]:
    """These jobs once all of them are as wanted."""
    for _ in range(1500):
        jobs = [await asyncio.to_thread(store.job, job_id) for job_id in ids]
        if all(wanted(job) for job in jobs):
            return jobs
        await asyncio.sleep(0.02)
    raise AssertionError(f"not {what}: {[(job.id, job.state, job.reason) for job in jobs]}")


class Doom:
    """Counts effects and kills this process at one of them."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._count = 0

    def step(self) -> None:
        self._count += 1
        if self._count == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


class DoomedStore:
    """The real store; recording a plan is an effect."""

    def __init__(self, store: Store, doom: Doom) -> None:
        self._store, self._doom = store, doom

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def apply(self, *arguments: Any) -> Any:
        self._doom.step()
        applied = self._store.apply(*arguments)
        self._doom.step()
        return applied


class DoomedBackend:
    """The real backend a minute ago; its calls are effects."""

    def __init__(self, backend: LocalBackend, doom: Doom) -> None:
        self._backend, self._doom = backend, doom

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def observe(self, expected: Collection[Expected] = ()) -> Listing:
        listing = await self._backend.observe(expected)
        return replace(listing, begun_at=listing.begun_at - EARLIER, finished_at=listing.finished_at - EARLIER)

    async def submit(self, batch: Sequence[JobSpec]) -> Submitted:
        return await self._doomed(self._backend.submit(batch))

    async def cancel(self, job_ids: Sequence[str]) -> None:
        await self._doomed(self._backend.cancel(job_ids))

    async def _doomed(self, call: Awaitable[Any]) -> Any:
        self._doom.step()
        answer = await call
        self._doom.step()
        return answer


async def main(folder: Path, instance: str, at: int) -> None:
    doom = Doom(at)
    store, backend = open_store(folder, instance), open_backend(folder, instance)

    def clock() -> datetime:
        return datetime.now(UTC) - EARLIER

    async with reconciling(DoomedStore(store, doom), DoomedBackend(backend, doom), clock=clock):
        ids = [job.id for job in store.jobs(Selection())[1]]
        await until_jobs(store, ids, lambda job: job.state is State.STARTING, "started")
        store.stop(ids, by="ana", reason="asked", now=clock())
        await until_jobs(store, ids, lambda job: job.is_ended, "ended")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
