"""`Cluster` from real ipykernels of a real notebook job, through the real service and its local backend."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.installation import wait_until
from tests.support.notebook_service import PERSON_TOKEN
from tests.system.cluster_site import ClusterSite

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ClusterSite]:
    made = ClusterSite(tmp_path)
    with made.hub:
        try:
            made.start()
            made.open_notebook()
            yield made
        finally:
            made.stop()


FIRST = """
import os, sys, json
from sampan import Cluster
cluster = Cluster(4, name="first")
client = cluster.get_client()
client.wait_for_workers(4, timeout=60)
print(json.dumps({
    "sum": client.submit(sum, range(101)).result(),
    "pids": list(client.run(os.getpid).values()), "kernel": os.getpid(),
    "folders": sorted(set(client.run(os.getcwd).values())),
    "on_path": all(client.run(lambda: os.getcwd() in sys.path).values()),
    "scores": sorted(set(client.run(lambda: int(open("/proc/self/oom_score_adj").read())).values())),
    "why": cluster.why(), "quote": str(cluster.quote(2, "large")), "cost": str(cluster.cost),
    "link": cluster.dashboard_link, "text": repr(cluster),
}))
"""


async def test_four_workers_from_the_first_cell(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        facts = json.loads((await kernel.execute(FIRST, 90)).checked().text)
        assert facts["sum"] == 5050
        assert len(set(facts["pids"])) == 4
        assert facts["kernel"] not in facts["pids"]
        assert set(facts["pids"]) == site.worker_pids()
        assert facts["folders"] == [str(site.home)]
        assert facts["on_path"]
        assert min(facts["scores"]) >= 500
        assert "4 of 4 workers" in facts["why"]
        assert "0.10 EUR per hour" in facts["quote"]
        assert facts["cost"].endswith("EUR")
        assert facts["link"] == "/user/ana/sampan/first/status"
        assert "workers=4" in facts["text"]
        panel = (await kernel.execute("cluster")).checked().displays
        assert any("application/vnd.jupyter.widget-view+json" in shown for shown in panel)
        assert "4 of 4 (fixed)" in (await kernel.execute("print(cluster._widget().children[0].value)")).checked().text
        async with kernel._session.get(
            f"{kernel._base_url}/sampan/first/status", headers={"Authorization": f"token {PERSON_TOKEN}"}
        ) as page:
            assert page.status == 200
            assert "bokeh" in await page.text()
        (await kernel.execute("client.close(); cluster.close()")).checked()
        assert not site.host_pids()
        wait_until(lambda: not site.worker_pids() and not site.workers(), 20, "the workers are gone")


KEEP = """
import time, os
from sampan import Cluster
cluster = Cluster(1, name="kept")
client = cluster.get_client()
client.publish_dataset(numbers=client.submit(sum, range(101)))
client.publish_dataset(late=client.submit(lambda: time.sleep(3) or "late", pure=False))
print(os.getpid())
"""
FIND = """
from sampan import Cluster
cluster = Cluster.attach()
client = cluster.get_client()
print(cluster.name, client.get_dataset("numbers").result(timeout=30), client.get_dataset("late").result(timeout=30))
cluster.close()
"""


async def test_a_killed_kernel_leaves_the_cluster_to_the_next(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        pid = int((await kernel.execute(KEEP, 90)).checked().text)
        os.kill(pid, signal.SIGKILL)
    async with site.kernel() as kernel:
        assert (await kernel.execute(FIND, 90)).checked().text.split() == ["kept", "5050", "late"]


async def test_a_killed_worker_is_replaced_and_a_scaled_down_one_is_not(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        start = "from sampan import Cluster; cluster = Cluster(2, name='trial'); cluster.wait_for_workers(2, 60)"
        (await kernel.execute(start, 90)).checked()
        victim = site.worker_pids().pop()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: "trial-2" in site.running_names(), 30, "replaced under a new name")
        assert len(site.running_names()) == 2
        assert victim not in site.worker_pids()
        (await kernel.execute("cluster.scale(1)")).checked()
        wait_until(lambda: len(site.workers()) == 1, 30, "one is left")
        ended = {job["name"]: job for job in site.workers("ended")}
        assert len(ended) == 2
        (await kernel.execute("cluster.close()")).checked()


async def test_a_lost_host_ends_its_workers_and_a_stopped_notebook_everything(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        start = "from sampan import Cluster\nfor name in 'ab': Cluster(1, name=name).wait_for_workers(1, 60)"
        (await kernel.execute(start, 90)).checked()
        first = min(site.host_pids())
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(site.worker_pids()) == 1, 30, "the orphan ended itself")
        host = site.host_pids().pop()
        runtime = Path(psutil.Process(host).cmdline()[-1])
    site.call("POST", "/jobs/stop", {"ids": [site.notebook["id"]]})
    wait_until(lambda: not site.worker_pids() and not psutil.pid_exists(host), 30, "all is gone")
    assert not runtime.parent.exists(), "the runtime folder is left behind"


async def test_the_service_may_restart_while_a_cluster_works(site: ClusterSite) -> None:
    async with site.kernel() as kernel:
        start = "from sampan import Cluster; c = Cluster(2); client = c.get_client(); client.wait_for_workers(2, 60)"
        (await kernel.execute(start, 90)).checked()
        before = site.worker_pids()
        site.end_service(kill=True)
        away = await kernel.execute("print(sum(client.gather(client.map(lambda n: n * 2, range(100)))))")
        assert away.checked().text.strip() == "9900"
        site.start()
        assert site.worker_pids() == before
        (await kernel.execute("c.scale(3); c.wait_for_workers(3, 60); client.close(); c.close()", 90)).checked()
        wait_until(lambda: not site.workers(), 20, "the workers are gone")
