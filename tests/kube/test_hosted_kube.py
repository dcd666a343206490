"""Clusters whose schedulers are pods of their own, from a notebook in a pod, on the chart as it is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kube.chart_rig import Release, installed
from tests.kube.conftest import REGISTRY, Images
from tests.support.installation import wait_until
from tests.support.person import Notebook, Person
from tests.testbeds.kube.cluster import KubeCluster

pytestmark = pytest.mark.timeout(600)

LITTLE: dict[str, Any] = {
    "config": {"backends": {"kubernetes": {"scheduler": {"cores": 0.1, "memory": "500M"}}}, "default_size": "tiny"}
}
START = "from sampan import Cluster; cluster = Cluster(3, name='far'); client = cluster.get_client(); "
READY = START + "client.wait_for_workers(3, timeout=120); "
FACTS = """
import json, socket
print(json.dumps({
    "sum": client.submit(sum, range(101)).result(60),
    "workers": sorted(client.run(socket.gethostname).values()),
    "scheduler": client.run_on_scheduler(socket.gethostname),
    "why": cluster.why(), "list": [running.name for running in Cluster.list()], "logs": sorted(cluster.logs()),
}))
"""


@pytest.fixture(scope="module")
def release(kube: KubeCluster, images: Images) -> Iterator[Release]:
    assert images.notebook.startswith(f"{REGISTRY}/")
    with installed(kube, REGISTRY, "hosted", LITTLE) as made:
        yield made


@pytest.fixture(scope="module")
def alice(release: Release) -> Person:
    return Person(release, "alice")


@pytest.fixture
def notebook(release: Release, alice: Person) -> Iterator[Notebook]:
    """With nothing left of it afterwards."""
    started = alice.start(timeout_s=150, size="small")
    yield started
    alice.hub("DELETE", alice.place_of(""))
    wait_until(lambda: not release.pods(), 90, "no pod of a job is left")


def names(release: Release, kind: str) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in release.pods(kind=kind))


def test_a_cluster_of_pods_from_a_pod(release: Release, alice: Person, notebook: Notebook) -> None:
    kernel = notebook.kernel()
    facts = json.loads(kernel.run(READY + FACTS, 180).splitlines()[-1])
    assert facts["sum"] == 5050
    assert facts["workers"] == names(release, "worker")
    assert [facts["scheduler"]] == names(release, "scheduler")
    assert "3 of 3 workers" in facts["why"]
    assert (facts["list"], facts["logs"]) == (["far"], ["far-0", "far-1", "far-2", "host"])

    status, page = alice.ask("GET", "/user/alice/sampan/far/status")
    assert status == 200
    assert "bokeh" in str(page)
    assert release.ask("GET", "/user/alice/sampan/far/status")[1] != page, "only behind her login"
    (shown,) = alice.ask("GET", "/user/alice/dask/clusters")[1]
    assert (shown["name"], shown["workers"]) == ("far", 3)

    kernel.run("cluster.scale(1)", 60)
    wait_until(lambda: len(names(release, "worker")) == 1, 60, "one worker is left")
    other = notebook.kernel()
    again = "from sampan import Cluster; c = Cluster.attach(); print(c.get_client().submit(sum, [1, 2]).result(60))"
    assert other.run(again, 60).split()[-1] == "3"
    kernel.run("client.close(); cluster.close()", 60)
    wait_until(lambda: len(release.pods()) == 1, 60, "nothing but the notebook is left")


def test_a_scheduler_deleted_by_an_administrator_ends_its_cluster_with_a_sentence(
    release: Release, notebook: Notebook
) -> None:
    kernel = notebook.kernel()
    kernel.run(READY, 180)
    (pod,) = names(release, "scheduler")
    release.kubectl("delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")
    wait_until(lambda: not names(release, "worker"), 90, "the workers are gone")
    (cluster,) = (
        each for each in release.admin("GET", "/clusters")["clusters"] if each["parent"] == notebook.job["id"]
    )
    assert (cluster["state"], cluster["reason"]["code"]) == ("ended", "host-ended")
    kernel.run("client.close(); cluster.close()", 60)
    assert kernel.run(READY + "print(len(client.scheduler_info()['workers']))", 180).split()[-1] == "3"


HOARD = "hoard = []\nwhile True:\n    hoard.append(bytearray(b'x' * (16 << 20)))"
FIND = """
from sampan import Cluster
print(Cluster.attach().get_client().get_dataset("numbers").result(30))
"""


def test_a_kernel_that_runs_out_of_memory_does_not_take_the_scheduler(release: Release, notebook: Notebook) -> None:
    """What the kernel kills is the node's choice: with cgroup v1 one process, with v2 the whole notebook."""
    kernel = notebook.kernel()
    one = READY.replace("(3", "(1")
    kernel.run(one + "client.publish_dataset(numbers=client.submit(sum, range(101)))", 180)
    before = names(release, "scheduler")
    with pytest.raises((AssertionError, TimeoutError, RuntimeError)):
        kernel.run(HOARD, 60)
    job = release.job(notebook.job["id"])
    if job["state"] == "running":
        assert names(release, "scheduler") == before
        assert notebook.kernel().run(FIND, 60).split()[-1] == "5050"
    else:
        assert "memory" in job["reason"]["text"]
