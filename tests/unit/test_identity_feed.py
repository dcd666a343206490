"""The feed: one poll for all, patient through outages, certain before it calls a job gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from sampan_hub.identity import submission
from sampan_hub.identity.compute import Listing, RefusedByService, Unreachable
from sampan_hub.identity.feed import ABSENT_GRACE_S, Feed, Follow
from sampan_hub.identity.notebooks import Notebook
from sampan_hub.identity.refusals import SpawnRefused
from sampan_hub.identity.submission import end_previous, submit_patiently

LOG = logging.getLogger("test")
ONE = Notebook("inst.1", "ana", "", "batch-1", "running", "run", "2026", address="http://127.0.0.1:1")


@dataclass
class Compute:
    """The service, as far as the feed asks it; a listing is answered when `revision` passes the asked one."""

    shown: dict[str, Notebook] = field(default_factory=dict)
    by_id: dict[str, Notebook] = field(default_factory=dict)
    revision: int = 1
    is_away: bool = False
    ready: bool = True
    listings: int = 0
    waiting: int = 0
    stopped: list[str] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def show(self, *notebooks: Notebook) -> None:
        self.shown = {one.id: one for one in notebooks}
        self.revision += 1
        self.changed.set()
        self.changed = asyncio.Event()

    async def notebooks(self, revision: int | None = None, wait_s: int = 0) -> Listing:
        self.listings += 1
        while wait_s and not self.is_away and revision == self.revision:
            self.waiting += 1
            await self.changed.wait()
            self.waiting -= 1
        if self.is_away:
            await asyncio.sleep(0)
            raise Unreachable("away", maybe_arrived=False)
        return Listing(self.revision, tuple(self.shown.values()))

    async def notebook(self, job_id: str) -> Notebook | None:
        return self.by_id.get(job_id) or self.shown.get(job_id)

    async def stop(self, job_id: str, reason: str) -> None:
        self.stopped.append(job_id)
        self.by_id[job_id] = replace(self.shown[job_id], state="ended", wanted="stop")
        self.show(*(one for one in self.shown.values() if one.id != job_id))

    async def submit(self, request: dict[str, Any]) -> Notebook:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Notebook)
        return answer

    async def is_ready(self) -> bool:
        return self.ready

    async def close(self) -> None:
        pass


class Watcher:
    def __init__(self, follows: Follow | None) -> None:
        self.follows = follows
        self.seen = 0

    def see(self) -> None:
        self.seen += 1


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def feeding(compute: Compute, clock: Clock | None = None) -> AsyncIterator[Feed]:
    feed = Feed(compute, LOG, clock or Clock())  # type: ignore[arg-type]  # the part of it that is used
    try:
        yield feed
    finally:
        await feed.close()


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


async def test_one_long_poll_serves_all_watchers() -> None:
    compute = Compute()
    async with feeding(compute) as feed:
        watchers = [Watcher(Follow(f"user-{n}", "")) for n in range(50)]
        for watcher in watchers:
            feed.watch(watcher)
        await until(lambda: compute.waiting == 1)
        before = compute.listings
        compute.show(ONE)
        await until(lambda: compute.waiting == 1 and compute.listings > before)
        assert compute.listings == before + 1
        assert all(watcher.seen == 2 for watcher in watchers)


async def test_one_watcher_that_fails_does_not_silence_the_others() -> None:
    class Failing(Watcher):
        def see(self) -> None:
            raise RuntimeError("its database is locked")

    compute = Compute()
    async with feeding(compute) as feed:
        watchers = [Failing(Follow("ana", "")), Watcher(Follow("ben", ""))]
        for watcher in watchers:
            feed.watch(watcher)
        await until(lambda: watchers[1].seen == 1)
        compute.show(ONE)
        await until(lambda: watchers[1].seen == 2)


async def test_a_job_is_found_by_id_by_batch_or_by_server() -> None:
    async with feeding(Compute({ONE.id: ONE})) as feed:
        feed.watch(watcher := Watcher(Follow("ana", "", "inst.1")))
        await until(lambda: watcher.seen)
        assert feed.find(Follow("ana", "", "inst.1")) == ONE
        assert feed.find(Follow("ana", "", None, "batch-1")) == ONE
        assert feed.find(Follow("ana", "")) == ONE
        assert feed.find(Follow("ana", "", "inst.2", "batch-1")) is None, "an id is never replaced by another job"
        assert feed.find(Follow("ben", "")) is None


async def test_a_job_that_left_the_listing_is_asked_for_by_id() -> None:
    compute = Compute({ONE.id: ONE})
    async with feeding(compute) as feed:
        feed.watch(watcher := Watcher(Follow("ana", "", "inst.1")))
        await until(lambda: watcher.seen)
        compute.by_id["inst.1"] = replace(ONE, state="ended", exit_code=3)
        compute.show()
        await until(lambda: (found := feed.find(watcher.follows)) and found.has_ended)  # type: ignore[arg-type]


async def test_an_outage_changes_nothing_and_ends_by_itself() -> None:
    compute = Compute({ONE.id: ONE})
    async with feeding(compute) as feed:
        feed.watch(watcher := Watcher(Follow("ana", "", "inst.1")))
        await until(lambda: watcher.seen)
        compute.is_away = True
        compute.show()
        before = compute.listings
        await until(lambda: compute.listings > before + 1)
        assert feed.find(Follow("ana", "", "inst.1")) == ONE
        assert not feed.is_gone(Follow("ana", "", "inst.1"))
        compute.is_away = False
        compute.show(replace(ONE, state="stopping"))
        await until(lambda: (found := feed.find(Follow("ana", "", "inst.1"))) and found.state == "stopping")


async def test_absence_counts_only_while_the_service_is_ready_and_only_after_the_grace() -> None:
    compute, clock = Compute(ready=False), Clock()
    follow = Follow("ana", "", "inst.1")
    async with feeding(compute, clock) as feed:
        feed.watch(watcher := Watcher(follow))
        await until(lambda: watcher.seen)
        clock.now += 10 * ABSENT_GRACE_S
        assert not feed.is_gone(follow), "a service that has not listed its backends knows nothing"
        compute.ready = True
        compute.show()
        await until(lambda: watcher.seen == 2)
        assert not feed.is_gone(follow)
        clock.now += ABSENT_GRACE_S
        assert not feed.is_gone(follow), "nobody looked again"
        compute.show()
        await until(lambda: watcher.seen == 3)
        assert feed.is_gone(follow)
        compute.show(ONE)
        await until(lambda: watcher.seen == 4)
        assert not feed.is_gone(follow), "it was adopted after all"


async def test_a_listing_asked_for_earlier_does_not_hide_what_was_learned_since() -> None:
    compute = Compute()
    follow = Follow("ana", "", "inst.1")
    async with feeding(compute) as feed:
        feed.watch(watcher := Watcher(follow))
        await until(lambda: compute.waiting == 1)
        feed.learn(ONE)
        compute.show()
        await until(lambda: watcher.seen == 3)
        assert feed.find(follow) == ONE


async def test_what_was_given_up_is_stopped_when_it_appears() -> None:
    compute = Compute()
    async with feeding(compute) as feed:
        feed.watch(Watcher(None))
        feed.abandon("batch-1")
        compute.show(ONE)
        await until(lambda: compute.stopped == ["inst.1"])


async def test_a_submit_is_repeated_while_the_service_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "RETRY_S", 0)
    away = Unreachable("away", maybe_arrived=True)
    async with feeding(Compute(answers=[away, away, ONE])) as feed:
        assert await submit_patiently(feed, {"batch": "batch-1"}) == ONE


async def test_a_refusal_is_not_repeated() -> None:
    async with feeding(Compute(answers=[RefusedByService(429, "over-limit", "Your limit is 2 cores.")])) as feed:
        with pytest.raises(RefusedByService, match="Your limit is 2 cores"):
            await submit_patiently(feed, {"batch": "batch-1"})


async def test_a_service_that_stays_away_refuses_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "PATIENCE_S", -1)
    compute = Compute(answers=[Unreachable("broke off", maybe_arrived=True)])
    async with feeding(compute) as feed:
        with pytest.raises(SpawnRefused) as caught:
            await submit_patiently(feed, {"batch": "batch-1"})
        assert caught.value.status_code == 503
        assert "does not answer" in caught.value.jupyterhub_message
        feed.watch(Watcher(None))
        compute.show(replace(ONE, batch=submission.batch_of("batch-1")))  # it had arrived all the same
        await until(lambda: compute.stopped == ["inst.1"])


async def test_an_earlier_server_is_ended_first() -> None:
    compute = Compute({ONE.id: ONE, "inst.2": replace(ONE, id="inst.2", name="other")})
    async with feeding(compute) as feed:
        await end_previous(feed, "ana", "", LOG)
    assert compute.stopped == ["inst.1"]
