"""The promises of `backends.base`, kept by every backend."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from sampan_hub.backends.base import BackendError, Phase
from sampan_hub.jobs.keys import is_signed, make_random_id
from sampan_hub.jobs.model import Resources
from tests.contract.backend_rigs import Rig, until_phase
from tests.contract.local_jobs import SIGNING_KEY, find


async def test_a_submitted_job_is_shown_with_its_signed_identity(rig: Rig) -> None:
    spec = rig.spec()
    submitted = await rig.backend.submit([spec])
    assert submitted.accepted == {spec.job_id}
    assert submitted.refused == {}
    seen = await until_phase(rig, spec.job_id, Phase.RUNNING)
    assert seen.owner == spec.identity.owner
    assert seen.identity == spec.identity
    assert seen.identity is not None
    assert is_signed(SIGNING_KEY, seen.identity)
    assert seen.run is not None
    assert seen.started_at is not None
    assert (seen.ended_at, seen.exit) == (None, None)


async def test_an_accepted_job_is_in_every_listing_begun_after_the_answer(rig: Rig) -> None:
    specs = [rig.spec() for _ in range(10)]
    await rig.backend.submit(specs)
    listing = await rig.backend.observe()
    assert {job.job_id for job in listing.jobs} == {spec.job_id for spec in specs}


async def test_a_second_submit_of_a_key_starts_nothing(rig: Rig) -> None:
    spec = rig.spec()
    await rig.backend.submit([spec])
    first = await until_phase(rig, spec.job_id, Phase.RUNNING)
    assert (await rig.backend.submit([spec])).accepted == {spec.job_id}
    again = find(await rig.backend.observe(), spec.job_id)
    assert again is not None
    assert again.run == first.run


async def test_what_ended_never_runs_again(rig: Rig) -> None:
    spec = rig.spec()
    await rig.backend.submit([spec])
    await until_phase(rig, spec.job_id, Phase.RUNNING)
    rig.let_end(spec.job_id, 0)
    ended = await until_phase(rig, spec.job_id, Phase.ENDED)
    assert (await rig.backend.submit([spec])).accepted == {spec.job_id}
    assert find(await rig.backend.observe(), spec.job_id) == ended


async def test_submits_at_the_same_time_start_one_run_of_each(rig: Rig) -> None:
    specs = [rig.spec() for _ in range(5)]
    answers = await asyncio.gather(*(rig.backend.submit(specs) for _ in range(5)))
    ids = {spec.job_id for spec in specs}
    assert all(answer.accepted == ids for answer in answers)
    first = {job.job_id: job.run for job in (await rig.backend.observe()).jobs}
    assert first.keys() == ids
    assert {job.job_id: job.run for job in (await rig.backend.observe()).jobs} == first


async def test_runs_of_different_jobs_are_told_apart(rig: Rig) -> None:
    specs = [rig.spec() for _ in range(5)]
    await rig.backend.submit(specs)
    runs = [(await until_phase(rig, spec.job_id, Phase.RUNNING)).run for spec in specs]
    assert len(set(runs)) == 5


@pytest.mark.parametrize("code", [0, 3])
async def test_an_end_is_shown_with_its_exit_code(rig: Rig, code: int) -> None:
    spec = rig.spec()
    await rig.backend.submit([spec])
    running = await until_phase(rig, spec.job_id, Phase.RUNNING)
    rig.let_end(spec.job_id, code)
    ended = await until_phase(rig, spec.job_id, Phase.ENDED)
    assert ended.run == running.run
    assert ended.exit is not None
    assert (ended.exit.code, ended.exit.signal) == (code, None)
    assert ended.ended_at is not None


async def test_a_cancel_ends_what_it_names_and_nothing_else(rig: Rig) -> None:
    named, other = rig.spec(), rig.spec()
    await rig.backend.submit([named, other])
    await until_phase(rig, named.job_id, Phase.RUNNING)
    await rig.backend.cancel([named.job_id])
    ended = await until_phase(rig, named.job_id, Phase.ENDED)
    assert ended.ended_at is not None
    still = find(await rig.backend.observe(), other.job_id)
    assert still is not None
    assert still.phase is Phase.RUNNING


async def test_a_cancel_is_idempotent_and_knows_no_unknown_ids(rig: Rig) -> None:
    spec = rig.spec()
    await rig.backend.submit([spec])
    ids = [spec.job_id, make_random_id(spec.job_id.split(".")[0]), "no id at all"]
    for _ in range(3):
        await rig.backend.cancel(ids)
    ended = await until_phase(rig, spec.job_id, Phase.ENDED)
    await rig.backend.cancel(ids)
    assert find(await rig.backend.observe(), spec.job_id) == ended


async def test_ended_jobs_stay_listed_until_they_are_forgotten(rig: Rig) -> None:
    ended, running = rig.spec(), rig.spec()
    await rig.backend.submit([ended, running])
    rig.let_end(ended.job_id, 0)
    await until_phase(rig, ended.job_id, Phase.ENDED)
    assert (await rig.backend.observe()).complete_history
    with contextlib.suppress(BackendError):  # it may say that one of them still runs
        await rig.backend.forget([running.job_id, ended.job_id, "no id at all"])
    listing = await rig.backend.observe()
    assert [(job.job_id, job.phase) for job in listing.jobs] == [(running.job_id, Phase.RUNNING)]
    assert (await rig.backend.read_log(ended.job_id, 10)).lines == ()


async def test_who_cannot_be_asked_raises_and_never_shows_an_empty_listing(rig: Rig) -> None:
    spec = rig.spec()
    await rig.backend.submit([spec])
    rig.set_reachable(False)
    with pytest.raises(BackendError):
        await rig.backend.observe()
    with pytest.raises(BackendError):
        await rig.backend.submit([rig.spec()])
    rig.set_reachable(True)
    listing = await rig.backend.observe()
    assert [job.job_id for job in listing.jobs] == [spec.job_id]


async def test_a_listing_says_whose_and_of_when_it_is(rig: Rig) -> None:
    first = await rig.backend.observe()
    second = await rig.backend.observe()
    assert first.backend == rig.backend.name
    assert first.begun_at <= first.finished_at <= second.begun_at
    assert first.begun_at.tzinfo is not None


async def test_free_capacity_follows_living_jobs(rig: Rig) -> None:
    spec = rig.spec(Resources(cores_milli=2000, memory_bytes=1 << 30))
    assert (await rig.backend.capacity()).free == rig.total
    await rig.backend.submit([spec])
    await until_phase(rig, spec.job_id, Phase.RUNNING)
    capacity = await rig.backend.capacity()
    assert capacity.total == rig.total
    assert capacity.free == Resources(rig.total.cores_milli - 2000, rig.total.memory_bytes - (1 << 30), rig.total.gpus)
    await rig.backend.cancel([spec.job_id])
    await until_phase(rig, spec.job_id, Phase.ENDED)
    assert (await rig.backend.capacity()).free == rig.total


async def test_a_log_is_bounded_and_of_unknown_jobs_empty(rig: Rig) -> None:
    spec = rig.spec()
    await rig.backend.submit([spec])
    assert len((await rig.backend.read_log(spec.job_id, 1)).lines) <= 1
    unknown = make_random_id(spec.job_id.split(".")[0])
    assert (await rig.backend.read_log(unknown, 10)).lines == ()


async def test_nobody_owns_a_port_where_nothing_listens(rig: Rig) -> None:
    spec = rig.spec()
    await rig.backend.submit([spec])
    with contextlib.suppress(BackendError):  # it may be too early to say
        assert not await rig.backend.owns_listener(spec.job_id, "127.0.0.1", 1)


async def test_a_backend_promises_a_bounded_submit(rig: Rig) -> None:
    assert 0 < rig.backend.submit_timeout_s <= 300
