"""Faults that happen to Kubernetes, or to the service's memory: one at a time, while jobs come and go."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

from tests.chaos import to_database
from tests.kube.faults.world import KINDS, KubeWorld
from tests.support.installation import wait_until

SHORT_S = 8
LONG_S = 60
BACK_S = 180
"""Kubernetes' own scheduler and kubelet wait ever longer for an API server that is away: a minute and more."""
SILENT_S = 45
"""After so long a node that says nothing counts as lost."""
SCALE = 50


def api_server_down(world: KubeWorld, choose: random.Random, moment: str, length_s: float) -> Iterator[None]:
    """Something is asked for while it is away; nothing is believed to have ended."""
    going, ids = world.running(), list[str]()
    if moment == "submit":
        ids = world.one.submit("alice", choose.choice([1, 3]))
        time.sleep(choose.uniform(0, 0.6))
    if moment == "stop":
        world.one.stop(going)
        time.sleep(choose.uniform(0, 0.3))
    server = world.kube.component("kube-apiserver")
    server.kill()
    try:
        time.sleep(length_s / 2)
        if moment == "submit":
            ids += world.one.submit("bob")
        time.sleep(length_s / 2)
        states = {world.one.job(job_id)["state"] for job_id in world.standing}
    finally:
        server.start()
    assert states == {"running"}, "nothing changes while nothing is known"
    yield
    world.kube.restore()
    world.one.until_running(*ids, *world.standing, timeout_s=BACK_S)
    if moment == "stop":
        world.one.until_ended(going, timeout_s=BACK_S)
    yield
    world.stop(*ids, going)


@KINDS.enter("API server killed: submit", alone=True)
def killed_in_submit(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from api_server_down(world, choose, "submit", SHORT_S)


@KINDS.enter("API server killed: watch", alone=True)
def killed_in_watch(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from api_server_down(world, choose, "watch", SHORT_S)


@KINDS.enter("API server killed: stop", alone=True)
def killed_in_stop(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from api_server_down(world, choose, "stop", SHORT_S)


@KINDS.enter("API server killed, back after 60 s", alone=True, is_slow=True)
def killed_long(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from api_server_down(world, choose, choose.choice(["submit", "watch", "stop"]), LONG_S)


@KINDS.enter("history compacted while the watch was away", alone=True)
def compacted(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """The API server itself answers that it has forgotten; one pod came, one went meanwhile."""
    going, deleted = world.running(), world.running()
    with world.one.paused():
        world.kubectl("delete", "pod", world.pod(deleted).name)
        world.kube.compact()
        world.kube.component("kube-apiserver").kill()
        world.kube.restore()
        world.kube.compact()
    coming = world.one.submit("alice")
    yield
    (ended,) = world.one.until_ended(deleted)
    assert ended["reason"]["code"] in ("deleted", "vanished"), ended
    world.one.until_running(*coming, going, *world.standing, timeout_s=BACK_S)
    yield
    world.stop(*coming, going)


@KINDS.enter("kubelet killed", alone=True)
def kubelet_killed(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """New pods wait for it, stops wait for it, and what runs goes on."""
    going = world.running()
    kubelet = world.kube.component("kubelet")
    kubelet.kill()
    try:
        coming = world.one.submit("alice")
        world.one.stop(going)
        time.sleep(choose.uniform(2, 6))
        states = {world.one.job(job_id)["state"] for job_id in world.standing}
        assert states == {"running"}
        assert world.one.job(going)["state"] == "stopping", "its process runs: nobody ended it"
    finally:
        kubelet.start()
    yield
    world.one.until_running(*coming, *world.standing)
    world.one.until_ended(going)
    yield
    world.stop(*coming)


@KINDS.enter("node lost for a while: its kubelet is killed", alone=True, is_slow=True)
def node_silent(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """What runs there is unknown, and is not given up."""
    kubelet = world.kube.component("kubelet")
    kubelet.kill()
    try:
        for job_id in world.standing:
            world.one.until(job_id, lambda job: job["unknown_since"], "is not known", SILENT_S + 45)
        assert {world.one.job(job_id)["state"] for job_id in world.standing} == {"running"}
    finally:
        kubelet.start()
    yield
    world.kube.restore()
    world.one.until_running(*world.standing)
    yield


@KINDS.enter("node cordoned", alone=True)
def cordoned(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    node = world.kube.NODE
    world.kube.kubectl("cordon", node)
    try:
        ids = world.one.submit("alice", 2)
        for job_id in ids:
            world.until_waiting_for(job_id, "no-room")
        states = {world.one.job(job_id)["state"] for job_id in world.standing}
        assert states == {"running"}
    finally:
        world.kube.kubectl("uncordon", node)
    yield
    world.one.until_running(*ids, *world.standing)
    yield
    world.stop(*ids)


@KINDS.enter("quota exceeded half-way through fifty", alone=True)
def quota(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """Those that fit are there, each of the others is told why it will never be."""
    there = len(world.kube.get("pods", namespace=world.ground.namespace)["items"])
    spec = {"hard": {"pods": str(there + SCALE // 2)}}
    name = f"faults-{choose.getrandbits(32):x}"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": spec}
    world.kube.apply(quota, namespace=world.ground.namespace)
    is_counted = lambda: world.kube.get("quota", name, namespace=world.ground.namespace)["status"].get("used")  # noqa: E731
    wait_until(is_counted, 30, "the quota is counted")
    try:
        ids = world.one.submit("alice", SCALE, size="shelf")
        yield
        is_settled = lambda: all(world.one.job(job_id)["state"] in ("queued", "ended") for job_id in ids)  # noqa: E731
        wait_until(is_settled, 60, "each is there or refused")
    finally:
        world.kubectl("delete", "quota", name)
    views = [world.one.job(job_id) for job_id in ids]
    refused = [view for view in views if view["state"] == "ended"]
    assert Counter(view["reason"]["code"] for view in refused) == {"quota": SCALE - SCALE // 2}, refused
    assert name in refused[0]["reason"]["text"]
    yield
    world.stop(*(view["id"] for view in views if view["state"] != "ended"))


@KINDS.enter("service killed again and again", alone=True)
def killed_often(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    ids = world.one.submit("alice", 4)
    for _ in range(3):
        time.sleep(choose.uniform(0, 1.5))
        world.one.kill()
        world.one.stop(ids[0])
    yield
    world.one.until_running(*ids[1:], *world.standing)
    world.one.until_ended(ids[0])
    yield
    world.stop(*ids[1:])


to_database.enter(KINDS)


@KINDS.enter("network policies deleted by an administrator", alone=True)
def policies_deleted(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """They are made again while their people have pods."""
    selector = f"sampan.io/instance={world.one.instance}"

    def there() -> set[str]:
        found = world.kube.get("networkpolicies", "--selector", selector, namespace=world.ground.namespace)["items"]
        return {policy["metadata"]["name"] for policy in found}

    before = there()
    assert len(before) == len({"alice", "bob"}), before
    world.kubectl("delete", "networkpolicies", "--selector", selector)
    yield
    wait_until(lambda: there() == before, 60, "they are there again")
    job_id = world.running()
    yield
    world.stop(job_id)
