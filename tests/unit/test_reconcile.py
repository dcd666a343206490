"""The loop itself: real time, a real store, a backend that pretends."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sampan_hub.backends.base import Expected, Listing, Pace
from sampan_hub.backends.fake import FakeBackend, Faults
from sampan_hub.jobs.drafts import Selection
from sampan_hub.jobs.keys import is_signed, parse_credential
from sampan_hub.jobs.model import Exit, Job, Kind, Reason, Resources, State
from sampan_hub.jobs.plan import Submit
from sampan_hub.jobs.reconcile import Reconciler
from sampan_hub.jobs.spec import NotRunnable, Place, SpecRules, make_spec
from sampan_hub.jobs.store import Store
from sampan_hub.settings.model import Environment, Settings
from tests.unit.stores import NO_LIMITS, make_draft, notebook_draft, open_store, sqlite_url, submit_one

__all__ = ["sqlite_url"]

ENVIRONMENT = Environment(prefix=Path("/env"), variables={"B": "2"})
PLACE = Place("http://127.0.0.1:1/services/sampan", lambda _: 1000, "/home")
SPECS = SpecRules(b"service", b"signing", {"default": ENVIRONMENT}, {"fake": PLACE})
PATIENCE_S = 20


@pytest.fixture
def store(sqlite_url: str) -> Iterator[Store]:
    made = open_store(sqlite_url)
    yield made
    made.close()


@asynccontextmanager
async def reconciling(
    store: Store, backend: FakeBackend, *, clock: Callable[[], datetime] | None = None, rules: SpecRules = SPECS
) -> AsyncIterator[Reconciler]:
    options = {} if clock is None else {"clock": clock}
    reconciler = Reconciler(store, {"fake": backend}, Settings(), rules, **options)
    task = asyncio.create_task(reconciler.run())
    try:
        yield reconciler
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(_poll, condition)


def _poll(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def states(store: Store) -> list[State]:
    return [job.state for job in store.jobs(Selection(states=frozenset(State)))[1]]


def now() -> datetime:
    return datetime.now(UTC)


async def test_jobs_start_when_asked_for_and_end_when_stopped(store: Store) -> None:
    backend = FakeBackend()
    async with reconciling(store, backend) as reconciler:
        outcome = await asyncio.to_thread(store.submit, make_draft(3), NO_LIMITS, now())
        ids = [item.job.id for item in outcome.items if item.job]
        await until(lambda: states(store) == [State.STARTING] * 3)
        assert backend.running() == set(ids)
        await asyncio.to_thread(store.claim, ids[0], backend.run_of(ids[0]).token, now())
        await asyncio.to_thread(lambda: store.stop(ids[:2], by="ana", reason="asked", now=now()))
        backend.finish(ids[2], Exit(code=3))
        await until(lambda: states(store) == [State.ENDED] * 3)
        assert reconciler.last_good_listing_at["fake"] is not None
    assert store.job(ids[2]).exit == Exit(code=3)
    assert backend.running() == set()


async def test_whose_time_is_up_has_ended_with_that_reason(store: Store) -> None:
    backend = FakeBackend(walltime_s=1.0)
    async with reconciling(store, backend):
        job = await asyncio.to_thread(submit_one, store, make_draft(), now())
        await until(lambda: store.job(job.id).deadline is not None)
        deadline = store.job(job.id).deadline
        await until(lambda: states(store) == [State.ENDED])
    ended = store.job(job.id)
    assert deadline is not None
    assert ended.ended_at is not None
    assert (ended.deadline, ended.ended_at >= deadline) == (deadline, True)
    assert ended.reason is not None
    assert ended.reason.code == "walltime"


async def test_who_misses_something_makes_it_look_at_once(store: Store) -> None:
    backend = FakeBackend()
    backend.pace = Pace(moving_s=3600, steady_s=3600, empty_s=3600, gap_s=0.01)
    async with reconciling(store, backend) as reconciler:
        await until(lambda: reconciler.last_good_listing_at["fake"] is not None)
        first = reconciler.last_good_listing_at["fake"]
        reconciler.look("another")
        reconciler.look("fake")
        await until(lambda: reconciler.last_good_listing_at["fake"] != first)


async def test_a_backend_is_told_what_should_be_there(store: Store) -> None:
    told: list[set[str]] = []

    class Told(FakeBackend):
        async def observe(self, expected: Collection[Expected] = ()) -> Listing:
            told.append({one.job_id for one in expected})
            return await super().observe(expected)

    backend = Told()
    async with reconciling(store, backend):
        job = await asyncio.to_thread(submit_one, store, make_draft(), now())
        await until(lambda: states(store) == [State.STARTING])
    told.clear()
    async with reconciling(store, backend):
        await until(lambda: bool(told))
    assert told[0] == {job.id}, "the first look of a restarted service knows what to expect"


async def test_nothing_waits_for_a_slow_directory_of_users(store: Store) -> None:
    loop = asyncio.get_running_loop()

    def look_up(_: str) -> int:
        others_went_on = threading.Event()
        loop.call_soon_threadsafe(others_went_on.set)
        assert others_went_on.wait(PATIENCE_S / 2), "everybody waited"
        return 1000

    rules = replace(SPECS, places={"fake": replace(PLACE, uid_of=look_up)})
    async with reconciling(store, FakeBackend(), rules=rules):
        await asyncio.to_thread(store.submit, make_draft(1), NO_LIMITS, now())
        await until(lambda: states(store) == [State.STARTING])


async def test_it_comes_to_rest(store: Store) -> None:
    backend = FakeBackend()
    async with reconciling(store, backend) as reconciler:
        await asyncio.to_thread(submit_one, store, make_draft(), now())
        await until(lambda: states(store) == [State.STARTING])
        revision = store.revision()
        for _ in range(3):
            assert not await reconciler.plan_once()
        assert store.revision() == revision


async def test_a_backend_that_fails_is_counted_and_asked_again(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults()
    faults.fail.update(observe=3, submit=1)
    faults.lose_reply.update(cancel=1)
    backend = FakeBackend(faults=faults, submit_timeout_s=0.3)
    offset = timedelta()
    with caplog.at_level(logging.CRITICAL):
        async with reconciling(store, backend, clock=lambda: now() + offset) as reconciler:
            job = await asyncio.to_thread(submit_one, store, make_draft(), now())
            await until(lambda: reconciler.failures["fake"] == 4)
            assert states(store) == [State.SUBMITTING]
            offset = timedelta(seconds=10)
            await until(lambda: states(store) == [State.STARTING])
            await asyncio.to_thread(lambda: store.stop([job.id], by="ana", reason="asked", now=now()))
            await until(lambda: states(store) == [State.ENDED])
    assert backend.runs_begun == {job.id: 1}


async def test_a_lost_reply_is_settled_by_the_listing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults()
    faults.lose_reply.update(submit=1)
    backend = FakeBackend(faults=faults)
    with caplog.at_level(logging.CRITICAL):
        async with reconciling(store, backend):
            job = await asyncio.to_thread(submit_one, store, make_draft(), now())
            await until(lambda: states(store) == [State.STARTING])
    assert store.job(job.id).attempt == 1


async def test_a_stop_that_is_ignored_is_repeated(store: Store) -> None:
    backend = FakeBackend(faults=Faults(ignore_cancels=2))
    async with reconciling(store, backend):
        job = await asyncio.to_thread(submit_one, store, make_draft(), now())
        await until(lambda: states(store) == [State.STARTING])
        await asyncio.to_thread(lambda: store.stop([job.id], by="ana", reason="asked", now=now()))
        await until(lambda: states(store) == [State.STOPPING])
        await until(lambda: states(store) == [State.ENDED])
    assert backend.faults.ignore_cancels == 0


async def test_a_refused_job_ends_with_its_reason_and_the_others_run(store: Store) -> None:
    backend = FakeBackend(faults=Faults(refuse={"w1": Reason("bad-name", "Not this one.")}))
    async with reconciling(store, backend):
        await asyncio.to_thread(store.submit, make_draft(3), NO_LIMITS, now())
        await until(lambda: sorted(states(store)) == [State.ENDED, State.STARTING, State.STARTING])
    (refused,) = store.jobs(Selection(states=frozenset({State.ENDED})))[1]
    assert (refused.name, refused.reason) == ("w1", Reason("bad-name", "Not this one."))


async def test_without_a_queue_jobs_wait_for_room(store: Store) -> None:
    backend = FakeBackend(queues=False, total=Resources(2000, 2**40))
    async with reconciling(store, backend):
        await asyncio.to_thread(store.submit, make_draft(3), NO_LIMITS, now())
        await until(lambda: states(store) == [State.STARTING, State.STARTING, State.ACCEPTED])
        first, _, waiting = store.jobs(Selection())[1]
        await until(lambda: store.job(waiting.id).position == 1)
        backend.finish(first.id, Exit(code=0))
        await until(lambda: store.job(waiting.id).state is State.STARTING)


async def test_children_end_with_their_notebook(store: Store) -> None:
    backend = FakeBackend()
    async with reconciling(store, backend):
        notebook = await asyncio.to_thread(submit_one, store, notebook_draft(), now())
        await asyncio.to_thread(submit_one, store, make_draft(parent=notebook.id), now())
        await until(lambda: states(store) == [State.STARTING] * 2)
        backend.finish(notebook.id, Exit(signal=9))
        await until(lambda: states(store) == [State.ENDED] * 2)


async def test_two_services_on_one_store_run_everything_once(store: Store, sqlite_url: str) -> None:
    backend = FakeBackend()
    other = open_store(sqlite_url)
    async with reconciling(store, backend), reconciling(other, backend):
        for _ in range(5):
            await asyncio.to_thread(store.submit, make_draft(4), NO_LIMITS, now())
        await until(lambda: states(store) == [State.STARTING] * 20)
        ids = [job.id for job in store.jobs(Selection())[1]]
        await asyncio.to_thread(lambda: other.stop(ids, by="ana", reason="asked", now=now()))
        await until(lambda: states(store) == [State.ENDED] * 20)
    other.close()
    assert set(backend.runs_begun.values()) == {1}
    assert all(store.job(job_id).attempt == 1 for job_id in ids)


async def test_a_service_that_died_before_its_call_is_made_good(store: Store) -> None:
    job = submit_one(store, make_draft(), now())
    store.apply([Submit("fake", (job,))], now() - timedelta(minutes=1))
    backend = FakeBackend()
    async with reconciling(store, backend):
        await until(lambda: states(store) == [State.STARTING])
    assert (backend.runs_begun[job.id], store.job(job.id).attempt) == (1, 2)


async def test_a_lost_database_is_rebuilt_from_what_runs(store: Store, tmp_path: Path) -> None:
    backend = FakeBackend()
    async with reconciling(store, backend):
        job = await asyncio.to_thread(submit_one, store, notebook_draft(), now())
        await until(lambda: states(store) == [State.STARTING])
    empty = open_store(f"sqlite:///{tmp_path}/new.sqlite")
    async with reconciling(empty, backend):
        await until(lambda: states(empty) == [State.STARTING])
    found = empty.job(job.id)
    empty.close()
    assert (found.owner, found.name, found.kind, found.batch) == (job.owner, job.name, job.kind, job.batch)


async def test_a_job_that_is_not_shown_is_unknown_and_goes_on(store: Store) -> None:
    backend = FakeBackend()
    async with reconciling(store, backend):
        job = await asyncio.to_thread(submit_one, store, make_draft(), now())
        await until(lambda: states(store) == [State.STARTING])
        backend.faults.hidden.add(job.id)
        await until(lambda: store.job(job.id).unknown_since is not None)
        assert states(store) == [State.STARTING]
        backend.faults.hidden.clear()
        await until(lambda: store.job(job.id).unknown_since is None)
    assert backend.running() == {job.id}


# What a backend is given


def a_job(store: Store, **changes: object) -> Job:
    return submit_one(store, make_draft(**changes), now())


def test_a_spec_has_no_secret_but_the_private_bootstrap(store: Store) -> None:
    spec = make_spec(a_job(store), SPECS)
    assert spec.argv == ("/usr/bin/python3", "-m", "sampan.worker")
    assert spec.env == {"A": "1", "B": "2", "SAMPAN_JOB": spec.job_id}
    assert spec.folder == "/home"
    assert is_signed(b"signing", spec.identity)
    bootstrap = json.loads(spec.private_files["bootstrap.json"])
    assert (bootstrap["service"], bootstrap["job"]) == (PLACE.service_url, spec.job_id)
    credential = parse_credential(b"service", bootstrap["credential"])
    assert credential is not None
    assert (credential.kind, credential.subject) == ("bootstrap", spec.identity.batch)
    assert "tell-nobody" not in repr(spec)


def test_a_notebook_runs_from_its_environment_in_its_folder(store: Store) -> None:
    spec = make_spec(a_job(store, kind=Kind.NOTEBOOK, options={"folder": "/home/ana"}), SPECS)
    assert (spec.argv, spec.folder) == (("/env/bin/python", "-m", "sampan.notebook"), "/home/ana")


def test_an_environment_that_is_gone_ends_the_job_with_a_sentence(store: Store) -> None:
    job = a_job(store, environment="gone", options={})
    with pytest.raises(NotRunnable, match="gone"):
        make_spec(job, SPECS)
