"""Three minutes of walltime: the person is told two before, workers are replaced in time, and no task runs twice.

Beside them one minute's walltime ends a worker that nobody replaces, because it takes as long.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.people import chromium
from tests.slurm.at_work import AtWork
from tests.slurm.crew import check_told, made_crew, slurm_job
from tests.slurm.installation.site import Site
from tests.support.installation import wait_until
from tests.support.person import Person, RemoteKernel

TASKS = 60
WALLTIME_S = 180
NOTICE_S = 120
START = """
import json, os, time
from sampan import Cluster
timed = Cluster({"brief": 2}, name="timed")
brief = timed.get_client()
brief.wait_for_workers(2, 90)

def work(number):
    with open("/home/alice/ran", "a") as file:
        file.write(f"{number}\\n")
    time.sleep(2)
    return number
"""
WORK = f"""
futures = brief.map(work, range({TASKS}))
total = sum(brief.gather(futures))

def read_events(dask_scheduler):
    events = [event for _, event in dask_scheduler.get_events("all")]
    return [event["action"] for event in events if event["action"] in ("add-worker", "remove-worker")]

print(json.dumps({{"total": total, "events": brief.run_on_scheduler(read_events)}}))
"""
TIMED_OUT_S = 200
"""Slurm looks for ends of walltimes every half minute, and gives the job half a minute more."""
TIME_IS_UP = ("walltime", r"Its time was up: it ran for its whole walltime of 1 minute\.")
BEGUN_S = 85
"""Before the first end the work begins: late enough for the ends to fall into it."""


def workers(site: Site, state: str = "") -> dict[str, dict[str, Any]]:
    found = site.jobs(owner="alice", kind="worker", **({"state": state} if state else {}))
    return {job["name"]: job for job in found if job["name"].startswith("timed-")}


def deadlines(site: Site) -> dict[str, datetime]:
    """When the time of each worker is over; none while the listing after their start is awaited."""
    told = {name: job["deadline"] for name, job in workers(site, "running").items()}
    is_told = len(told) == 2 and all(told.values())
    return {name: datetime.fromisoformat(text) for name, text in told.items()} if is_told else {}


def compute(site: Site, kernel: RemoteKernel) -> dict[str, Any]:
    """The tasks, begun so that the workers' walltime ends under them."""
    kernel.run(START, 120)
    ends = wait_until(lambda: deadlines(site), 60, "Slurm says when the workers' time is over")
    begin = min(ends.values()) - timedelta(seconds=BEGUN_S)
    wait_until(lambda: datetime.now(UTC) >= begin, WALLTIME_S, "the last part of the workers' time")
    return {**json.loads(kernel.run(WORK, 180)), "ends": ends}


def see_the_notice(site: Site, alice: Person) -> None:
    """In Chromium, through the proxy, logged in by a link."""
    notebook = alice.start("brief", size="brief")
    deadline = datetime.fromisoformat(
        wait_until(lambda: alice.notebook("brief")["deadline"], 60, "Slurm says when it ends")
    )
    with chromium() as browser:
        context = browser.new_context(ignore_https_errors=True)  # it does not know our authority
        page = context.new_page()
        page.goto(site.sampan("link", "alice").strip())
        page.goto(f"{notebook.base}/lab")
        item = page.locator(".sampan-StatusItem")
        expect(item).to_have_text(re.compile(r"ends \d\d:\d\d"), timeout=60_000)
        notice = page.locator(".Toastify__toast", has_text="its walltime is over")
        left_s = (deadline - datetime.now(UTC)).total_seconds()
        if left_s > NOTICE_S + 5:
            expect(notice).to_have_count(0)
        expect(notice).to_be_visible(timeout=(left_s - NOTICE_S) * 1000 + 30_000)
        assert deadline - datetime.now(UTC) < timedelta(seconds=NOTICE_S + 1)
        context.close()
    status, answer = alice.ask("GET", "/user/alice/brief/sampan/status")
    assert status == 200, answer
    assert datetime.fromisoformat(answer["session"]["deadline"]) == deadline
    assert answer["ends_in_s"] < NOTICE_S


@pytest.fixture
def _nothing_left(site: Site, alice: Person) -> Iterator[None]:
    """Whatever becomes of the test, its cluster and its notebook end: others need the room."""
    yield
    for cluster in alice.service("GET", "/clusters")[1]["clusters"]:
        if cluster["name"] == "timed":
            alice.service("DELETE", f"/clusters/{cluster['id']}")
    mine = [*workers(site).values(), *(job for job in site.jobs(owner="alice") if job["name"] == "brief")]
    site.admin("POST", "/jobs/stop", {"ids": [job["id"] for job in mine]})
    for job in mine:
        site.wait_for_job(job["id"], "ended")


@pytest.mark.timeout(480)
@pytest.mark.usefixtures("_nothing_left")
def test_nothing_is_lost_when_time_is_up(site: Site, alice: Person, working: AtWork) -> None:
    with made_crew(site, alice) as crew:
        crew.start("flash", "flash", "wait")
        slurm_job(crew, "flash", "RUNNING")  # it can be on node1 alone: first come
        with ThreadPoolExecutor() as pool:
            ending = pool.submit(crew.wait, "flash", timeout_s=TIMED_OUT_S)
            computing = pool.submit(compute, site, working.alice.notebook.kernel())
            see_the_notice(site, alice)
            said = computing.result()
            ending.result()
        flash = crew.renew()["flash"]
    check_told(alice, flash, *TIME_IS_UP, has_begun=True)
    ran = datetime.fromisoformat(flash["ended_at"]) - datetime.fromisoformat(flash["started_at"])
    assert ran >= timedelta(minutes=1), flash
    assert said["total"] == sum(range(TASKS))
    appended = Counter((site.cluster.home("alice") / "ran").read_text().split())
    assert appended == Counter(str(number) for number in range(TASKS)), "every task once"
    events = said["events"]
    assert events[:2] == ["add-worker"] * 2
    assert fewest(events) == 2, "each replacement was there before the old one went"
    assert events.count("remove-worker") >= 1, events
    assert set(said["ends"]) == {"timed-0", "timed-1"}
    for name, deadline in said["ends"].items():
        job = site.wait_for_job(workers(site)[name]["id"], "ended", timeout_s=WALLTIME_S)
        assert datetime.fromisoformat(job["ended_at"]) < deadline, job
        assert job["reason"]["code"] != "walltime", job
        span = deadline - datetime.fromisoformat(job["started_at"])
        assert abs(span - timedelta(seconds=WALLTIME_S)) < timedelta(seconds=5), job


def fewest(events: list[str]) -> int:
    """How few workers there were once both had come."""
    there, least = 0, 2
    for number, event in enumerate(events):
        there += 1 if event == "add-worker" else -1
        least = min(least, there) if number >= 2 else least
    return least
