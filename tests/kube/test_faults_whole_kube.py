"""Faults that need a whole Sampan, with hub, proxy, JupyterLab and Dask: the others are in test_faults_kube.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.kube.chart_rig import Release, installed
from tests.kube.conftest import REGISTRY, Images
from tests.support.installation import wait_until
from tests.support.person import Person
from tests.testbeds.kube.cluster import KubeCluster

pytestmark = pytest.mark.timeout(900)

BACK_S = 180
"""Until everything is as it was asked for; the new pod of a hub takes most of it."""
LITTLE: dict[str, Any] = {
    "config": {"backends": {"kubernetes": {"scheduler": {"cores": 0.1, "memory": "500M"}}}, "default_size": "tiny"}
}
BEGIN = """
from sampan import Cluster
cluster = Cluster(1, name="work")
client = cluster.get_client()
client.wait_for_workers(1, 120)
future = client.submit(lambda: "kept", key="kept")
print(future.result(60))
"""
ALL = f"""
client.wait_for_workers(3, {BACK_S})
print(len(client.scheduler_info(n_workers=-1)["workers"]), client.submit(sum, [1, 2]).result(60), future.result(60))
"""
Answer = TypeVar("Answer")


@pytest.fixture(scope="module")
def release(kube: KubeCluster, images: Images) -> Iterator[Release]:
    assert images.notebook.startswith(f"{REGISTRY}/")
    with installed(kube, REGISTRY, "whole", LITTLE) as made:
        yield made


@pytest.fixture(scope="module")
def alice(release: Release) -> Person:
    return Person(release, "alice")


@pytest.fixture
def nothing_left(release: Release) -> Iterator[None]:
    """After the test everything that it started is stopped, and no pod of a job is there."""
    yield

    def is_stopping() -> bool:
        for job in release.jobs():
            if job["state"] != "ended":
                release.admin("POST", "/jobs/stop", {"ids": [job["id"]]})
        return True

    patiently(is_stopping, "the service answers")
    wait_until(lambda: not release.pods(), 90, "no pod of a job is left")


def kill(release: Release, component: str) -> None:
    """Its pod is gone at once, with all its processes; a new one takes its place."""
    name = release.component(component)["metadata"]["name"]
    release.kubectl("delete", "pod", name, "--force", "--grace-period=0", "--wait=false")


def patiently(ask: Callable[[], Answer], what: str) -> Answer:
    """The first answer that is true, asked through the time in which there is none."""

    def attempt() -> Answer | None:
        try:
            return ask()
        except (OSError, AssertionError):
            return None

    return wait_until(attempt, BACK_S, what)  # type: ignore[no-any-return]


def open_notebook(release: Release) -> dict[str, Any] | None:
    jobs = [job for job in release.jobs(owner="alice", kind="notebook") if job["state"] != "ended"]
    assert len(jobs) <= 1, jobs
    return jobs[0] if jobs else None


@pytest.mark.parametrize("component", ["hub", "proxy"])
def test_killed_while_a_server_starts(release: Release, alice: Person, nothing_left: None, component: str) -> None:
    """The very job that was asked for before is what she gets, and there is no other."""
    status, body = alice.hub("POST", alice.place_of(""), {})
    assert status in (201, 202), body
    asked = wait_until(lambda: open_notebook(release), 30, "the service was asked")
    kill(release, component)
    patiently(lambda: alice.ask("GET", "/user/alice/api/status")[0] == 200, "her server answers")
    found = patiently(lambda: open_notebook(release), "the service answers")
    assert found["id"] == asked["id"]
    (pod,) = release.pods()
    assert pod["metadata"]["labels"]["sampan.io/job"] == asked["id"]
    status, body = alice.hub("DELETE", alice.place_of(""))
    assert status in (202, 204), body


@pytest.mark.parametrize("component", ["hub", "proxy"])
def test_killed_while_a_cluster_grows(release: Release, alice: Person, nothing_left: None, component: str) -> None:
    """As many workers as were asked for, each once, and nothing that was computed is lost."""
    kernel = alice.start(timeout_s=BACK_S, size="small").kernel()
    assert kernel.run(BEGIN, 240).strip() == "kept"
    before = {pod["metadata"]["uid"] for pod in release.pods()}
    kernel.run("cluster.scale(3)", 60)
    kill(release, component)
    patiently(lambda: alice.ask("GET", "/user/alice/api/status")[0] == 200, "her server answers through the proxy")
    assert kernel.run(ALL, BACK_S + 90).split() == ["3", "3", "kept"]
    after = release.pods()
    assert before <= {pod["metadata"]["uid"] for pod in after}, "what worked before works on"
    kinds = Counter(pod["metadata"]["labels"]["sampan.io/kind"] for pod in after)
    assert kinds == {"notebook": 1, "scheduler": 1, "worker": 3}
    told = patiently(lambda: release.jobs(owner="alice", state="running"), "the service answers")
    names = {pod["metadata"]["labels"]["sampan.io/job"] for pod in after}
    assert {job["id"] for job in told} == names
    kernel.run("client.close(); cluster.close()", 90)
