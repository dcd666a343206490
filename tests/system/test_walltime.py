"""Workers whose walltime ends in the middle of the work: replaced, let go one after the other, no task run twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.installation import wait_until
from tests.system.cluster_site import ClusterSite
from tests.system.timed_site import timed_site

pytestmark = pytest.mark.timeout(240)

LIMITS = {"worker": 40}
TASKS = 60
WORK = f"""
import json, os, time
from sampan import Cluster
cluster = Cluster(2, name="timed")
client = cluster.get_client()
client.wait_for_workers(2, 60)

def work(number):
    with open("ran", "a") as file:
        file.write(f"{{number}}\\n")
    time.sleep(1.1)
    return number

futures = client.map(work, range({TASKS}))
while not any(future.done() for future in futures):
    time.sleep(0.1)
why = cluster.why()
total = sum(client.gather(futures))

def read_events(dask_scheduler):
    events = [event for _, event in dask_scheduler.get_events("all")]
    return [event["action"] for event in events if event["action"] in ("add-worker", "remove-worker")]

print(json.dumps({{"total": total, "why": why, "events": client.run_on_scheduler(read_events),
                   "workers": len(client.scheduler_info()["workers"])}}))
"""


async def compute(site: ClusterSite) -> dict[str, Any]:
    """All tasks on two workers; what came of it, when each was run exactly once."""
    async with site.kernel() as kernel:
        done = (await kernel.execute(WORK, 150)).checked()
        said: dict[str, Any] = json.loads(done.text.strip().splitlines()[-1])
        assert said["total"] == sum(range(TASKS))
        ran = Counter((site.home / "ran").read_text().split())
        assert ran == Counter(str(number) for number in range(TASKS)), "every task once"
        wait_until(lambda: len(site.running_names()) == 2, 30, "two workers, as was wished")
        (await kernel.execute("client.close(); cluster.close()")).checked()
        return said


def most_missing(events: list[str]) -> int:
    """How many of the two workers were missing at most, once both had come."""
    there, fewest = 0, 2
    for number, event in enumerate(events):
        there += 1 if event == "add-worker" else -1
        if number >= 2:
            fewest = min(fewest, there)
    return 2 - fewest


def check_ends(site: ClusterSite) -> None:
    """Whoever was there first was let go before its backend would have ended it."""
    first = ("timed-0", "timed-1")
    wait_until(lambda: {*first} <= {job["name"] for job in site.workers("ended")}, 20, "both have ended")
    for job in [job for job in site.workers("ended") if job["name"] in first]:
        assert job["deadline"] is not None
        assert job["ended_at"] < job["deadline"], job
        assert job["reason"]["code"] != "walltime", job


async def test_no_task_runs_twice_and_no_worker_is_missing(tmp_path: Path) -> None:
    with timed_site(tmp_path, LIMITS) as site:
        said = await compute(site)
        assert said["events"].count("add-worker") >= 4
        assert most_missing(said["events"]) == 0, said["events"]
        assert "(walltime)" in said["why"]
        check_ends(site)


async def test_where_a_limit_allows_no_more_one_goes_before_another_comes(tmp_path: Path) -> None:
    with timed_site(tmp_path, LIMITS, "limits: {user: {jobs: 3}}") as site:
        said = await compute(site)
        assert most_missing(said["events"]) == 1, said["events"]
        check_ends(site)


async def test_a_replacement_that_waits_for_room_is_not_waited_for(tmp_path: Path) -> None:
    with timed_site(tmp_path, LIMITS, cores=3) as site:
        said = await compute(site)
        assert most_missing(said["events"]) >= 1, said["events"]
        check_ends(site)
