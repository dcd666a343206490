"""Workers whose walltime ends: who is replaced and let go when, for any number of them with any ends."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.host import draining
from sampan.host.deadlines import Deadlines, Drain, Replace, Timed, plan_drains, read_times
from sampan.host.going import Going

HOUR = 3600.0
FIRST = Timed("calc-0", begun_s=0, end_s=8 * HOUR, drain_s=60)
SECOND = replace(FIRST, name="calc-1")


def test_nothing_is_done_while_there_is_time() -> None:
    assert plan_drains(7 * HOUR, [FIRST, SECOND]) == []


def test_a_worker_is_replaced_first_and_goes_when_its_replacement_is_there() -> None:
    now_s = 8 * HOUR - 10 - 2 * (60 + 10) - 300
    assert plan_drains(now_s, [FIRST, SECOND]) == [Replace("calc-0")]
    leaving = replace(FIRST, leaving=True)
    assert plan_drains(now_s, [leaving, SECOND]) == []
    assert plan_drains(now_s, [replace(leaving, covered=True), SECOND]) == [Drain("calc-0", 8 * HOUR - 10)]


def test_without_a_replacement_it_goes_when_its_turn_comes() -> None:
    workers = [replace(FIRST, leaving=True), replace(SECOND, leaving=True)]
    turn_s = 8 * HOUR - 10 - 2 * (60 + 10)
    assert plan_drains(turn_s - 1, workers) == []
    assert plan_drains(turn_s, workers) == [Drain("calc-0", 8 * HOUR - 10)]
    workers[0] = replace(workers[0], draining=True)
    assert plan_drains(turn_s + 79, workers) == [], "the other one is busy for longer than was thought"
    assert plan_drains(turn_s + 80, workers) == [Drain("calc-1", 8 * HOUR - 10)], "now or too late, whoever else goes"


def test_half_of_a_short_time_is_for_work() -> None:
    crowd = [Timed(f"calc-{number}", begun_s=0, end_s=20, drain_s=30) for number in range(50)]
    assert plan_drains(9.9, crowd) == []
    assert {action.name for action in plan_drains(10, crowd)} == {worker.name for worker in crowd}


def test_times_are_read_from_the_feed() -> None:
    job: dict[str, Any] = {"state": "running", "lost": False, "started_at": "2026-05-04T10:00:00Z"}
    assert read_times(job) is None, "an older service tells no deadline"
    assert read_times({**job, "deadline": None}) is None
    begun_s, end_s = read_times({**job, "deadline": "2026-05-04T18:00:00Z"}) or (0, 0)
    assert end_s - begun_s == 8 * HOUR
    assert read_times({**job, "deadline": "2026-05-04T18:00:00Z", "state": "ended"}) is None


class PretendedCluster:
    """What `Going` sees of a cluster: names of workers, all of one size, those in `observed` there already."""

    def __init__(self, wanted: int, names: str, observed: str) -> None:
        self.wanted = {"": wanted}
        self.caps: dict[str, int] = {}
        self.worker_spec = dict.fromkeys(names.split())
        self.observed = set(observed.split())
        self.settled = 0

    def size_of(self, name: str) -> str:
        assert name in self.worker_spec
        return ""

    async def settle(self) -> None:
        """Asked for what is missing."""

    async def remove(self, names: Collection[str]) -> None:
        for name in names:
            del self.worker_spec[name]

    def spawn(self, coroutine: Any) -> None:
        self.settled += 1
        coroutine.close()


def make_going(cluster: PretendedCluster, *leaving: str) -> Going:
    pretended: Any = cluster
    going = Going(pretended)
    going.replace(leaving)
    return going


def test_one_replacement_lets_one_worker_go() -> None:
    cluster = PretendedCluster(2, "a b new", observed="a b")
    going = make_going(cluster, "a", "b")
    assert cluster.settled == 1, "others were asked for"
    assert not going.is_covered("a"), "the new one is on its way"
    cluster.observed.add("new")
    assert going.is_covered("a")
    assert going.is_covered("b")
    going.let_go(["a"])
    assert not going.is_covered("b"), "the new one is there in place of the first"


@pytest.mark.parametrize("trouble", [KeyError("a task that Dask has lost"), ConnectionResetError("gone")])
def test_who_cannot_be_let_go_in_order_goes_all_the_same(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    async def fail(*_: object) -> None:
        raise trouble

    class Cluster(PretendedCluster):
        scheduler = None

        def spawn(self, coroutine: Any) -> None:
            asyncio.run(coroutine)

    monkeypatch.setattr(draining, "drain", fail)
    cluster = Cluster(1, "a b", observed="a b")
    going = make_going(cluster)
    going.let_go(["a"])
    assert set(cluster.worker_spec) == {"b"}, "its job is stopped"
    assert going.names == set()


def test_who_cannot_be_replaced_before_may_go_but_only_one() -> None:
    cluster = PretendedCluster(2, "a b", observed="a b")
    cluster.caps[""] = 2
    going = make_going(cluster, "a", "b")
    assert not cluster.caps, "what was refused before is asked for again"
    cluster.caps[""] = 0
    assert going.is_covered("a")
    going.let_go(["a"])
    assert not going.is_covered("b")


def test_with_fewer_wanted_nobody_waits_for_a_replacement() -> None:
    cluster = PretendedCluster(1, "a b", observed="a b")
    assert make_going(cluster, "a").is_covered("a")


def test_who_got_more_time_counts_again() -> None:
    cluster = PretendedCluster(2, "a b", observed="a b")
    going = make_going(cluster, "a")
    going.keep_leaving(["a", "b"])
    assert (going.names, cluster.settled) == ({"a"}, 1)
    going.keep_leaving(["b"])
    assert (going.names, cluster.settled) == (set(), 2)


@dataclass
class Simulated:
    worker: Timed
    replacement_at_s: float | None = None
    drained_at_s: float | None = None


def simulate(workers: list[Timed], replacement_takes_s: float) -> list[Simulated]:
    """Every second, what is planned is done; drains take as long as was said, replacements as long as given."""
    all_of_them = {worker.name: Simulated(worker) for worker in workers}
    now_s = min(worker.begun_s for worker in workers)
    last_s = max(worker.end_s for worker in workers)
    while now_s <= last_s:
        for one in all_of_them.values():
            if one.replacement_at_s is not None and now_s >= one.replacement_at_s:
                one.worker = replace(one.worker, covered=True)
        there = [one.worker for one in all_of_them.values() if one.drained_at_s is None or one.drained_at_s > now_s]
        for action in plan_drains(now_s, there):
            one = all_of_them[action.name]
            if isinstance(action, Replace):
                assert not one.worker.leaving, "asked for once"
                one.worker = replace(one.worker, leaving=True)
                one.replacement_at_s = now_s + replacement_takes_s
            else:
                assert not one.worker.draining
                one.worker = replace(one.worker, draining=True)
                one.drained_at_s = now_s + one.worker.drain_s
        now_s += 1.0
    return list(all_of_them.values())


worker_times = st.tuples(
    st.integers(0, 200).map(float),
    st.integers(200, 1200).map(float),
    st.integers(1, 30).map(float),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(worker_times, min_size=1, max_size=12), st.integers(1, 5000).map(float))
def test_everybody_is_gone_in_time_and_replaced_before(
    times: list[tuple[float, float, float]], replacement_takes_s: float
) -> None:
    workers = [
        Timed(f"calc-{number}", begun_s=begun_s, end_s=begun_s + life_s, drain_s=drain_s)
        for number, (begun_s, life_s, drain_s) in enumerate(times)
    ]
    crowd_s = sum(worker.drain_s + worker.gap_s for worker in workers)
    for one in simulate(workers, replacement_takes_s):
        worker = one.worker
        assert one.drained_at_s is not None, "it was let go"
        assert one.drained_at_s <= worker.until_s + 1.0, "in time, to the second"
        assert one.replacement_at_s is not None, "another one was asked for"
        begun_s = one.drained_at_s - worker.drain_s
        assert begun_s >= worker.earliest_s
        if replacement_takes_s + crowd_s + 1.0 < min(worker.lead_s, worker.until_s - worker.earliest_s):
            assert one.replacement_at_s <= begun_s + 1.0, "a replacement that comes in time comes first"


@settings(deadline=None, max_examples=15)
@given(st.integers(2, 12), st.integers(1, 20).map(float))
def test_those_of_one_end_go_one_after_the_other(number: int, drain_s: float) -> None:
    workers = [Timed(f"calc-{n}", begun_s=0, end_s=1000, drain_s=drain_s) for n in range(number)]
    for replacement_takes_s in (5.0, 10_000.0):
        ends = sorted(one.drained_at_s or 0.0 for one in simulate(workers, replacement_takes_s))
        gaps = [later - earlier for earlier, later in pairwise(ends)]
        assert all(gap >= drain_s - 0.5 for gap in gaps), "no two at a time"


def test_a_look_that_fails_ends_no_cluster(caplog: pytest.LogCaptureFixture) -> None:
    class Cluster:
        looks = 0

        @property
        def going(self) -> Going:
            self.looks += 1
            if self.looks == 3:
                stop.set()
            raise AttributeError("a scheduler of another version")

    stop = asyncio.Event()
    cluster: Any = Cluster()
    asyncio.run(Deadlines(cluster).follow(stop))
    assert cluster.looks == 3
    assert [record.getMessage()[:19] for record in caplog.records] == ["The ends of workers"], "said once"
