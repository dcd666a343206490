"""A real notebook and real workers, forked and started afresh: the same to everybody who looks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.judge.processes import processes_with_key
from tests.support.installation import wait_until
from tests.system.cluster_site import ClusterSite

pytestmark = pytest.mark.timeout(240)

CLUSTER = """
import json, os, random
from sampan import Cluster
cluster = Cluster(2, name="two")
client = cluster.get_client()
client.wait_for_workers(2, timeout=60)
import numpy
print(json.dumps({
    "sum": client.submit(sum, range(101)).result(),
    "pids": sorted(client.run(os.getpid).values()),
    "jobs": sorted(client.run(lambda: os.environ["SAMPAN_JOB"]).values()),
    "folders": sorted(set(client.run(os.getcwd).values())),
    "on_path": all(client.run(lambda: os.getcwd() in sys.path).values()),
    "numbers": sorted(client.run(lambda: float(numpy.random.random())).values()),
}))
"""


@pytest.fixture(params=[True, False], ids=["forked", "fresh"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ClusterSite]:
    made = ClusterSite(tmp_path)
    switch = f"kind: local, fork: {str(request.param).lower()},"
    made.settings.write_text(made.settings.read_text().replace("kind: local,", switch))
    with made.hub:
        try:
            made.start()
            if request.param:
                wait_until(lambda: _count_ready(made) == 2, 60, "two fork servers have imported everything")
            yield made
        finally:
            made.stop()


def _servers(site: ClusterSite) -> list[psutil.Process]:
    assert site.service is not None
    children = psutil.Process(site.service.pid).children()
    return [child for child in children if [word[-5:] for word in child.cmdline()[1:2]] == ["/shim"]]


def _count_ready(site: ClusterSite) -> int:
    return len(re.findall("fork server [0-9]+ is ready", (site.folder / "service.log").read_text()))


def _was_forked(site: ClusterSite, job_id: str) -> bool:
    """Its keeper came out of a fork server, and it took over the place where that one's variables were shown."""
    start = json.loads((site.paths.jobs / job_id / "started.json").read_text())
    keeper = Path(f"/proc/{start['keeper_pid']}/cmdline").read_bytes().split(b"\0")
    shown = Path(f"/proc/{start['pid']}/environ").read_bytes()
    assert f"SAMPAN_JOB={job_id}".encode() in shown.split(b"\0")
    return keeper[2].startswith(b"sampan.") and shown.endswith(b"\0\0")


async def test_a_session(site: ClusterSite, request: pytest.FixtureRequest) -> None:
    is_forked = request.node.callspec.id == "forked"
    site.open_notebook()
    notebook = site.notebook["id"]
    assert _was_forked(site, notebook) is is_forked
    async with site.kernel() as kernel:
        facts = json.loads((await kernel.execute("import sys\n" + CLUSTER, 90)).checked().text)
        assert facts["sum"] == 5050
        assert facts["folders"] == [str(site.home)]
        assert facts["on_path"]
        assert len(set(facts["numbers"])) == 2
        assert set(facts["pids"]) == site.worker_pids()
        assert [_was_forked(site, job) for job in facts["jobs"]] == [is_forked] * 2
        (host,) = site.host_pids()
        parent = psutil.Process(host).parent()
        assert parent is not None
        assert ("sampan.host.zygote" in parent.cmdline()) is is_forked
        assert {found.job_id for found in processes_with_key(site.instance)} == {notebook, *facts["jobs"]}
    site.call("POST", "/jobs/stop", {"ids": [notebook]})
    wait_until(lambda: not processes_with_key(site.instance), 30, "nothing of the session is left")
    assert len(_servers(site)) == (2 if is_forked else 0)
    servers = _servers(site)
    site.end_service()
    _, alive = psutil.wait_procs(servers, timeout=10)
    assert alive == []
