"""Store, reconciler and the local backend together: accepted jobs run once and end when stopped, whoever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sampan_hub.backends.base import Phase
from sampan_hub.backends.local import LocalBackend
from sampan_hub.jobs.keys import make_instance_id
from sampan_hub.jobs.model import State, Wanted
from sampan_hub.jobs.store import Store
from tests.contract.local_jobs import processes_of, until
from tests.contract.reconcile_rig import ask_for_workers, open_backend, open_store, reconciling, until_jobs

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Site:
    folder: Path
    instance: str
    store: Store
    backend: LocalBackend

    def starts(self) -> Counter[str]:
        """How often each job's program was started."""
        path = self.folder / "starts"
        return Counter(path.read_text().split() if path.exists() else [])


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    instance = make_instance_id()
    made = Site(tmp_path, instance, open_store(tmp_path, instance), open_backend(tmp_path, instance))
    yield made
    made.store.close()
    while alive := [job.job_id for job in (await made.backend.observe()).jobs if job.phase is not Phase.ENDED]:
        await made.backend.cancel(alive)
        await asyncio.sleep(0.02)


def _is_started(job: object) -> bool:
    return getattr(job, "state", None) is State.STARTING


async def test_accepted_jobs_start_and_a_stop_ends_them(site: Site) -> None:
    ids = ask_for_workers(site.store, site.folder, "batch-0001", 3)
    async with reconciling(site.store, site.backend):
        await until_jobs(site.store, ids, _is_started, "started")
        assert [len(processes_of(job_id)) for job_id in ids] == [1, 1, 1]
        site.store.stop(ids[:1], by="ana", reason="asked", now=_now())
        (ended,) = await until_jobs(site.store, ids[:1], lambda job: job.is_ended, "ended")
        assert ended.exit is not None
        assert ended.exit.signal == signal.SIGTERM
        assert [len(processes_of(job_id)) for job_id in ids] == [0, 1, 1]


async def test_an_end_by_itself_is_recorded_with_its_cause(site: Site) -> None:
    ids = ask_for_workers(site.store, site.folder, "batch-0001", 1)
    async with reconciling(site.store, site.backend):
        await until_jobs(site.store, ids, _is_started, "started")
        (pid,) = processes_of(ids[0])
        os.kill(pid, signal.SIGKILL)
        (ended,) = await until_jobs(site.store, ids, lambda job: job.is_ended, "ended")
    assert ended.exit is not None
    assert ended.exit.signal == signal.SIGKILL
    assert ended.reason is not None
    assert ended.reason.code == "killed"


async def test_jobs_run_on_without_the_service_and_their_ends_are_not_missed(site: Site) -> None:
    ids = ask_for_workers(site.store, site.folder, "batch-0001", 2)
    async with reconciling(site.store, site.backend):
        await until_jobs(site.store, ids, _is_started, "started")
    (pid,) = processes_of(ids[0])
    os.kill(pid, signal.SIGTERM)
    await until(lambda: processes_of(ids[0]) == [], "it ends")
    async with reconciling(site.store, open_backend(site.folder, site.instance)):
        (ended,) = await until_jobs(site.store, ids[:1], lambda job: job.is_ended, "ended")
        assert ended.exit is not None
        assert ended.exit.signal == signal.SIGTERM
        assert site.store.job(ids[1]).state is State.STARTING
    assert site.starts() == {ids[0]: 1, ids[1]: 1}


async def test_two_services_on_one_store_start_each_job_once(site: Site) -> None:
    ids = ask_for_workers(site.store, site.folder, "batch-0001", 8)
    other = open_store(site.folder, site.instance)
    async with (
        reconciling(site.store, site.backend),
        reconciling(other, open_backend(site.folder, site.instance)),
    ):
        await until_jobs(site.store, ids, _is_started, "started")
        assert {job_id: len(processes_of(job_id)) for job_id in ids} == dict.fromkeys(ids, 1)
        site.store.stop(ids, by="ana", reason="asked", now=_now())
        await until_jobs(site.store, ids, lambda job: job.is_ended, "ended")
    other.close()
    assert site.starts() == dict.fromkeys(ids, 1)
    assert [processes_of(job_id) for job_id in ids] == [[]] * 8


async def test_an_unreadable_root_kills_nobody(site: Site) -> None:
    ids = ask_for_workers(site.store, site.folder, "batch-0001", 1)
    async with reconciling(site.store, site.backend) as reconciler:
        await until_jobs(site.store, ids, _is_started, "started")
        (site.folder / "jobs").rename(site.folder / "away")
        await until(lambda: reconciler.failures["local"] >= 2, "looks fail")
        assert site.store.job(ids[0]).state is State.STARTING
        (site.folder / "away").rename(site.folder / "jobs")
        assert len(processes_of(ids[0])) == 1


async def test_a_wiped_database_adopts_what_runs(site: Site, tmp_path: Path) -> None:
    ids = ask_for_workers(site.store, site.folder, "batch-0001", 2)
    async with reconciling(site.store, site.backend):
        await until_jobs(site.store, ids, _is_started, "started")
    elsewhere = tmp_path / "new"
    elsewhere.mkdir()
    fresh = open_store(elsewhere, site.instance)
    async with reconciling(fresh, site.backend):
        for _ in range(500):
            if len(fresh.recorded().jobs) == 2:
                break
            await asyncio.sleep(0.02)
        adopted = await until_jobs(fresh, ids, lambda job: job.state is not State.ACCEPTED, "adopted")
    fresh.close()
    assert {job.owner for job in adopted} == {"ana"}
    assert {job.wanted for job in adopted} <= {Wanted.RUN, Wanted.STOP}


async def test_a_service_killed_at_any_effect(site: Site) -> None:
    """Start, run and stop; the next service finishes what the killed one began. Never twice, never left behind."""
    for at in range(1, 60):
        ids = ask_for_workers(site.store, site.folder, f"batch-{at:04}", 2)
        command = [sys.executable, "-m", "tests.contract.reconcile_rig", str(site.folder), site.instance, str(at)]
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY)
        returncode = await process.wait()
        assert returncode in (0, -signal.SIGKILL)
        async with reconciling(site.store, site.backend):
            await until_jobs(site.store, ids, lambda job: _is_started(job) or job.wanted is Wanted.STOP, "settled")
            assert all(len(processes_of(job_id)) <= 1 for job_id in ids)
            site.store.stop(ids, by="ana", reason="asked", now=_now())
            await until_jobs(site.store, ids, lambda job: job.is_ended, "ended")
        assert [processes_of(job_id) for job_id in ids] == [[], []]
        assert max(site.starts().values(), default=0) <= 1
        if returncode == 0:
            assert at > 8, "a start and a stop have more effects than that: the injection does not work"
            return
    pytest.fail("the service never came to its end")


def _now() -> datetime:
    return datetime.now(UTC)
