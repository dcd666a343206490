"""The service dies at every call of submit and cancel, one after the other, on the real cluster; each time all comes
right again: what was asked for runs once, what was stopped is gone, and Slurm shows nothing else.

`tests/system/test_kill_points.py` does the same with every call of a local service.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.slurm.faults.ground import Ground, prepared_ground
from tests.slurm.faults.judge import Judge
from tests.slurm.faults.light import HubHostLight
from tests.testbeds.slurm.cluster import Cluster

AT_ONCE = 5
MOST_POINTS = 60
CALLS = {"submit", "apply", "stop"} | {
    f"{part}.{verb}" for part in ("backend", "acting") for verb in ("submit", "cancel")
}


@pytest.fixture
def ground(slurm: Cluster, no_jobs: None, tmp_path: Path) -> Iterator[Ground]:
    with prepared_ground(slurm, tmp_path) as made:
        yield made


def live_through(light: HubHostLight, judge: Judge) -> None:
    """Two jobs in one array are asked for, run once each, and are stopped, one after the other."""
    request = light.make_request("alice", 2)
    first, second = light.ask(request)
    light.until_running(first, second)
    assert light.ask(request) == [first, second]
    light.stop(first)
    light.until_ended(first)
    light.until_running(second)
    judge.until_content()
    light.stop(second)
    light.until_ended(second)
    judge.until_content()
    for job_id in (first, second):
        assert len(light.ground.runs_of(job_id)) == 1
    assert not [row for row in judge.rows() if row.is_alive]
    assert len(judge.rows()) == 2, "nothing was submitted twice"


def die_at(at: int, ground: Ground) -> str | None:
    """The call at which the service died; None when all was over before it came to point `at`."""
    light = HubHostLight(ground, f"k{at}")
    try:
        light.start(at)
        live_through(light, Judge(ground.slurm, light))
        return light.died_at()
    except Exception as error:
        raise AssertionError(f"died {light.died_at()}: {error}; {light.log()[-3000:]}") from error
    finally:
        light.end()


@pytest.mark.timeout(900)
def test_it_may_die_at_any_call_of_submit_and_cancel(ground: Ground) -> None:
    begun = time.monotonic()
    deaths: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for first in range(1, MOST_POINTS, AT_ONCE):
            found = list(pool.map(lambda at: die_at(at, ground), range(first, first + AT_ONCE)))
            deaths += [call for call in found if call]
            if None in found:
                break  # all was over before its doom: every point was met
        else:
            pytest.fail(f"no run completed in {MOST_POINTS} points: {deaths}")
    print(f"{len(deaths)} points in {time.monotonic() - begun:.0f} s: {deaths}")
    assert {call.split()[1] for call in deaths} == CALLS
    assert {call.split()[0] for call in deaths} == {"before", "during", "after"}
