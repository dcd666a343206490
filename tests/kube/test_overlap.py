"""Two services of one installation at once, as when an upgrade's new pod begins before the old one has ended.

Both look at the same namespace, write to the same database and act; every request gets to either of them by chance.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kube.faults.ground import Ground, prepared_ground
from tests.kube.faults.judge import Judge
from tests.kube.faults.light import PodsLight
from tests.support.installation import free_port, wait_until
from tests.testbeds.kube.cluster import KubeCluster

SEED = 20261123
ROUNDS = 5
AT_A_TIME = 4


class Overlapping(PodsLight):
    """Its process has a second one beside it."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground, "one", direct=True)
        self._second: subprocess.Popen[bytes] | None = None

    def start_second(self) -> None:
        port = free_port()
        self._second = self.spawn(port)
        self.ground.entry.routes[self.name].append(port)

    def kill_second(self) -> None:
        assert self._second is not None
        self.ground.entry.routes[self.name].pop()
        self._second.kill()
        self._second.wait()

    def is_ready(self) -> bool:
        """Whether the second answers: whoever is asked, the answer comes."""
        return all(self.jobs() is not None for _ in range(10))


@pytest.fixture
def both(kube: KubeCluster, tmp_path: Path) -> Iterator[Overlapping]:
    with prepared_ground(kube, tmp_path) as ground:
        light = Overlapping(ground)
        light.start()
        light.jobs()
        light.start_second()
        try:
            yield light
        finally:
            light.kill_second()
            light.end()


@pytest.mark.timeout(420)
def test_nothing_is_made_twice_or_forgotten_by_two(both: Overlapping) -> None:
    choose, judge = random.Random(SEED), Judge(both)
    wait_until(both.is_ready, 60, "both answer")
    going: list[str] = []
    for number in range(ROUNDS):
        request = both.make_request("alice", AT_A_TIME)
        asked = both.ask(request)
        assert both.ask(request) == asked, "asked again, of the other perhaps"
        stopped = choose.sample(going, min(len(going), 2)) + asked[:1]
        both.stop(*stopped)
        going = [job_id for job_id in going + asked if job_id not in stopped]
        if number == ROUNDS // 2:
            both.kill_second()
            both.start_second()
    both.until_running(*going, timeout_s=150)
    judge.until_content()
    assert all(len(set(both.ground.entry.runs[job_id])) == 1 for job_id in going)
    both.stop(*going)
    both.until_ended(*going, timeout_s=120)
    judge.until_nothing_is_left()
    assert {job["reason"]["code"] for job in both.jobs().values()} == {"asked"}
