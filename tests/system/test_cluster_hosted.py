"""Clusters whose host is a job of its own: the same from a notebook as with a host beside it. On the local backend."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.judge.processes import processes_with_key
from tests.support.installation import wait_until
from tests.support.notebook_service import PERSON_TOKEN
from tests.system.cluster_site import ClusterSite

pytestmark = pytest.mark.timeout(240)

HOSTING = ", cluster_host: job, scheduler: {cores: 0.5, memory: 512M}"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ClusterSite]:
    made = ClusterSite(tmp_path, backend=HOSTING)
    with made.hub:
        try:
            made.start()
            made.open_notebook()
            yield made
        finally:
            made.stop()


def schedulers(site: ClusterSite, ended: bool = False) -> list[dict[str, Any]]:
    jobs = site.call("GET", "/jobs?kind=scheduler")["jobs"]
    return [job for job in jobs if (job["state"] == "ended") is ended]


def scheduler_pids(site: ClusterSite) -> set[int]:
    return {process.pid for process in processes_with_key(site.instance) if process.entry == "scheduler"}


FIRST = """
import os, json, time
from sampan import Cluster
begun = time.monotonic()
cluster = Cluster(2, name="far")
client = cluster.get_client()
client.wait_for_workers(2, timeout=60)
print(json.dumps({
    "took_s": time.monotonic() - begun,
    "sum": client.submit(sum, range(101)).result(),
    "pids": list(client.run(os.getpid).values()),
    "host": client.run_on_scheduler(os.getpid), "why": cluster.why(), "link": cluster.dashboard_link,
    "list": [running.name for running in Cluster.list()], "logs": sorted(cluster.logs()),
}))
"""


async def test_a_cluster_with_a_host_of_its_own_feels_the_same(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        facts = json.loads((await kernel.execute(FIRST, 90)).checked().text)
        assert facts["sum"] == 5050
        assert set(facts["pids"]) == site.worker_pids()
        assert {facts["host"]} == scheduler_pids(site), "the scheduler is a job's process"
        assert not site.host_pids(), "nothing is hosted beside the notebook"
        assert "2 of 2 workers" in facts["why"]
        assert facts["list"] == ["far"]
        assert facts["logs"] == ["far-0", "far-1", "host"]
        async with kernel._session.get(
            f"{kernel._base_url}/sampan/far/status", headers={"Authorization": f"token {PERSON_TOKEN}"}
        ) as page:
            assert page.status == 200, await page.text()
            assert "bokeh" in await page.text()
        assert facts["link"] == "/user/ana/sampan/far/status"
        (await kernel.execute("cluster.scale(3); client.wait_for_workers(3, 60)", 90)).checked()
        (await kernel.execute("cluster.scale(1)", 60)).checked()
        wait_until(lambda: len(site.workers()) == 1, 30, "one worker is left")
        (await kernel.execute("cluster.adapt(0, 2); client.submit(sum, [1, 2]).result(timeout=60)", 90)).checked()
        (await kernel.execute("client.close(); cluster.close()", 60)).checked()
        assert not scheduler_pids(site)
        wait_until(lambda: not site.worker_pids() and not site.workers(), 20, "the workers are gone")
    (cluster,) = site.call("GET", "/clusters")["clusters"]
    assert (cluster["state"], cluster["reason"]["code"]) == ("ended", "closed")


START = "from sampan import Cluster; cluster = Cluster(2, name='far'); client = cluster.get_client(); "
READY = START + "client.wait_for_workers(2, timeout=60)"


HEAR = """
import time, warnings
told = []
warnings.showwarning = lambda message, *_, **__: told.append(str(message))
"""
HEARD = """
end_s = time.monotonic() + 20
while not any("has ended" in each for each in told) and time.monotonic() < end_s:
    time.sleep(0.1)
print(told)
"""


async def test_a_killed_scheduler_ends_its_cluster_with_a_sentence(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        (await kernel.execute(HEAR + READY, 90)).checked()
        os.kill(scheduler_pids(site).pop(), signal.SIGKILL)
        wait_until(lambda: not site.worker_pids() and not site.workers(), 30, "the workers are gone")
        (cluster,) = site.call("GET", "/clusters")["clusters"]
        assert (cluster["state"], cluster["reason"]["code"]) == ("ended", "host-ended")
        assert cluster["reason"]["text"].startswith("Its scheduler has ended: ")
        told = (await kernel.execute(HEARD, 40)).checked().text
        assert "far: the cluster has ended (Its scheduler has ended: " in told
        (await kernel.execute("client.close(); cluster.close()", 60)).checked()
        again = await kernel.execute(READY + "; print(len(client.scheduler_info()['workers']))", 90)
        assert again.checked().text.strip().endswith("2"), "the name is free again"


KEEP = """
import os
client.publish_dataset(numbers=client.submit(sum, range(101)))
print(os.getpid())
"""
FIND = """
from sampan import Cluster
cluster = Cluster.attach()
client = cluster.get_client()
print(cluster.name, client.get_dataset("numbers").result(timeout=30), len(client.scheduler_info()["workers"]))
"""


async def test_the_next_kernel_finds_it_and_two_share_it(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        (await kernel.execute(READY, 90)).checked()
        before = scheduler_pids(site)
        os.kill(int((await kernel.execute(KEEP)).checked().text), signal.SIGKILL)  # as when memory has run out
    async with site.kernel() as kernel, site.kernel() as other:
        assert (await kernel.execute(FIND, 60)).checked().text.split() == ["far", "5050", "2"]
        assert scheduler_pids(site) == before
        joined = "from sampan import Cluster; mine = Cluster(3, name='far'); print(mine.scheduler_address)"
        address = (await other.execute(joined, 60)).checked().text.strip()
        assert (await kernel.execute("print(cluster.scheduler_address)")).checked().text.strip() == address
        wait_until(lambda: len(site.running_names()) == 3, 30, "what the other kernel wished")
        assert len(schedulers(site)) == 1
        (await other.execute("mine.close()", 60)).checked()
        assert schedulers(site) == []


async def test_two_kernels_at_once_make_one_scheduler(site: ClusterSite) -> None:
    async with site.kernel() as one, site.kernel() as other:
        answers = await asyncio.gather(
            *(kernel.execute(START + "print(cluster.scheduler_address)", 90) for kernel in (one, other))
        )
        assert len({answer.checked().text.strip() for answer in answers}) == 1
        assert len(schedulers(site)) == 1


async def test_the_notebooks_end_is_the_end_of_all(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        (await kernel.execute(READY, 90)).checked()
    site.call("POST", "/jobs/stop", {"ids": [site.notebook["id"]]})
    wait_until(lambda: not scheduler_pids(site) and not site.worker_pids(), 30, "all ends with the notebook")
    wait_until(lambda: all_ended(site), 30, "all is recorded as ended")


def all_ended(site: ClusterSite) -> bool:
    return all(job["state"] == "ended" for job in site.call("GET", "/jobs")["jobs"])


REFUSED = """
from sampan import Cluster, Refused
try:
    Cluster(2, name="wide", size="gigantic")
except Refused as refused:
    print(refused.code, refused.field)
"""


async def test_a_refusal_is_the_same_error_and_leaves_nothing(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        assert (await kernel.execute(REFUSED)).checked().text.split()[0] == "invalid"
    assert not schedulers(site)
    assert not scheduler_pids(site)
    assert all(cluster["state"] == "ended" for cluster in site.call("GET", "/clusters")["clusters"])


async def test_the_service_may_restart_while_the_scheduler_works(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        (await kernel.execute(READY, 90)).checked()
        before = scheduler_pids(site) | site.worker_pids()
        site.end_service(kill=True)
        away = await kernel.execute("print(sum(client.gather(client.map(lambda n: n * 2, range(100)))))")
        assert away.checked().text.strip() == "9900"
        site.start()
        (await kernel.execute("cluster.scale(3); cluster.wait_for_workers(3, 60)", 90)).checked()
        assert before < scheduler_pids(site) | site.worker_pids()
        (await kernel.execute("client.close(); cluster.close()", 60)).checked()


async def test_the_sidebar_shows_and_changes_it(site: ClusterSite) -> None:
    headers = {"Authorization": f"token {PERSON_TOKEN}"}
    async with site.kernel() as kernel:
        base = f"{kernel._base_url}/dask/clusters"
        http = kernel._session
        async with http.put(base, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            model = await answer.json()
        assert model["adapt"]["minimum"] == 0
        async with http.patch(f"{base}/{model['id']}", headers=headers, json={"workers": 2}) as answer:
            assert answer.status == 200, await answer.text()
        assert await until_shown(http, base, headers, workers=2)
        path = f"{kernel._base_url}/dask/dashboard/{model['id']}/individual-plots.json"
        async with http.get(path, headers=headers) as answer:
            assert len(await answer.json()) > 20
        async with http.get(f"{kernel._base_url}/sampan/unknown/status", headers=headers) as answer:
            assert answer.status == 404
        async with http.delete(f"{base}/{model['id']}", headers=headers) as answer:
            assert answer.status == 204
    wait_until(lambda: not scheduler_pids(site) and not site.workers(), 30, "the sidebar stopped it")


async def until_shown(http: Any, base: str, headers: dict[str, str], **wanted: Any) -> bool:
    for _ in range(300):
        async with http.get(base, headers=headers) as answer:
            models = await answer.json()
        if models and wanted.items() <= models[0].items():
            return True
        await asyncio.sleep(0.1)
    raise AssertionError(models)
