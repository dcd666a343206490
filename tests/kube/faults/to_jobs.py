"""Faults that happen to one job; several at a time."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from typing import Any

from tests.chaos.light import LOOKS_S
from tests.kube.faults.api_server import Ambush
from tests.kube.faults.world import KINDS, KubeWorld
from tests.support.installation import wait_until

FINALIZER = "faults.sampan.io/stays"


def ended_with(world: KubeWorld, job_id: str, *codes: str, timeout_s: float = 60) -> dict[str, Any]:
    """It ended, its person is told why, and its pod is gone."""
    (ended,) = world.one.until_ended(job_id, timeout_s=timeout_s)
    assert ended["reason"]["code"] in codes, ended
    wait_until(lambda: world.is_gone(job_id), 30, f"the pod of {job_id} is deleted")
    return ended


@KINDS.enter("pod deleted by an administrator")
def deleted(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running()
    world.kubectl("delete", "pod", world.pod(job_id).name, "--wait=false")
    yield
    ended_with(world, job_id, "deleted")


@KINDS.enter("pod deleted by force")
def deleted_by_force(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """Kubernetes forgets it at once, whatever its process does."""
    job_id = world.running()
    world.kubectl("delete", "pod", world.pod(job_id).name, "--force", "--grace-period=0", "--wait=false")
    yield
    ended_with(world, job_id, "deleted")


@KINDS.enter("pod deleted before it begins")
def deleted_early(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    (job_id,) = world.waiting()
    world.kubectl("delete", "pod", world.pod(job_id).name, "--wait=false")
    yield
    ended_with(world, job_id, "deleted")
    assert world.ground.entry.runs[job_id] == []


@KINDS.enter("evicted by an administrator who empties the node")
def drained(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running()
    name = world.pod(job_id).name
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    place = f"/api/v1/namespaces/{world.ground.namespace}/pods/{name}/eviction"
    world.kube.kubectl("create", "--raw", place, "--filename=-", input=json.dumps(eviction))
    yield
    ended_with(world, job_id, "drained")


@KINDS.enter("evicted by its node: scratch is too full", is_slow=True)
def evicted(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    (job_id,) = world.one.submit("alice", fault="disk")
    yield
    ended_with(world, job_id, "evicted", timeout_s=120)


@KINDS.enter("out of memory")
def out_of_memory(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    (job_id,) = world.one.submit("alice", fault="memory")
    yield
    ended = ended_with(world, job_id, "out-of-memory")
    assert "150M" in ended["reason"]["text"] or "143M" in ended["reason"]["text"], ended


@KINDS.enter("ends with an error")
def ends_with_an_error(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    (job_id,) = world.one.submit("alice", fault="exit")
    yield
    (ended,) = world.one.until_ended(job_id)
    assert ended["exit"]["code"] == 1, ended
    said = world.one.call("GET", f"/jobs/{job_id}/log")
    assert any("it ends with an error" in line for line in said["lines"]), said


@KINDS.enter("image missing")
def image_missing(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    (job_id,) = world.one.submit("alice", fault="image")
    yield
    world.until_waiting_for(job_id, "image")
    yield
    world.stop(job_id)


@KINDS.enter("no node has room")
def no_room(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    ids = world.waiting(choose.choice([1, 3]))
    yield
    for job_id in ids:
        world.until_waiting_for(job_id, "no-room")
    yield
    world.stop(*ids)
    assert all(world.ground.entry.runs[job_id] == [] for job_id in ids)


@KINDS.enter("pod stuck terminating")
def stuck(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """Something in the cluster keeps the pod from going; another job of the same person is not kept from anything."""
    job_id = world.running()
    name = world.pod(job_id).name
    finalizers = {"metadata": {"finalizers": [FINALIZER]}}
    world.kubectl("patch", "pod", name, "--type=merge", f"--patch={json.dumps(finalizers)}")
    world.one.stop(job_id)
    yield
    wait_until(lambda: world.pod(job_id).is_going, 30, "it is being deleted")
    other = world.running()
    world.kubectl("patch", "pod", name, "--type=merge", '--patch={"metadata": {"finalizers": null}}')
    world.one.until_ended(job_id)
    yield
    wait_until(lambda: world.is_gone(job_id), 30, "it is gone")
    world.stop(other)


@KINDS.enter("submit reply lost")
def reply_lost(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """Whoever comes next: another fault's job, perhaps, which must not mind either."""
    ambush = world.ground.api.lie_in_wait(Ambush("POST", "/pods"))
    ids = world.one.submit("alice", choose.choice([1, 3]))
    yield
    world.one.until_running(*ids)
    yield
    wait_until(lambda: ambush.sprung, 30, "somebody's reply is lost")
    world.stop(*ids)


@KINDS.enter("delete reply lost")
def delete_reply_lost(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    job_id = world.running()
    ambush = world.ground.api.lie_in_wait(Ambush("DELETE", world.pod(job_id).name))
    world.one.stop(job_id)
    yield
    ended_with(world, job_id, "asked")
    wait_until(lambda: ambush.sprung, 30, "the reply is lost")


@KINDS.enter("service killed before its pod is made")
def killed_before_create(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from _killed_at(world, choose, Ambush("POST", "/pods", before=world.one.kill))


@KINDS.enter("service killed between create and record")
def killed_after_create(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    yield from _killed_at(world, choose, Ambush("POST", "/pods", after=world.one.kill))


def _killed_at(world: KubeWorld, choose: random.Random, ambush: Ambush) -> Iterator[None]:
    world.ground.api.lie_in_wait(ambush)
    ids = world.one.submit("alice", choose.choice([1, 3]))
    yield
    wait_until(lambda: ambush.sprung, 60, "the service dies")
    world.one.until_running(*ids, timeout_s=90)
    yield
    world.stop(*ids)


@KINDS.enter("service killed during a stop")
def killed_in_stop(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    ids = world.one.submit("alice", 2)
    world.one.until_running(*ids)
    moment = {"before": world.one.kill} if choose.random() < 0.5 else {"after": world.one.kill}
    ambush = world.ground.api.lie_in_wait(Ambush("DELETE", world.pod(ids[0]).name, **moment))
    world.one.stop(ids[0])
    yield
    wait_until(lambda: ambush.sprung, 30, "the service dies")
    world.one.until_ended(ids[0])
    world.one.until_running(ids[1])
    yield
    world.stop(ids[1])


@KINDS.enter("forged pod: our labels, no signature")
def forged(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """Under a name that a job of ours could have."""
    job_id = world.running()
    name = world.pod(job_id).name
    copied = world.kube.get("pod", name, namespace=world.ground.namespace)["metadata"]
    letters = "".join(choose.choices("abcdefghijklmnopqrstuvwxyz234567", k=16))
    made_up = f"{world.one.instance}.{letters}"
    labels = {**copied["labels"], "sampan.io/job": made_up}
    identity = json.loads(copied["annotations"]["sampan.io/identity"])
    identity |= {"job_id": made_up, "owner": choose.choice(["alice", "bob"])}
    forged_name = f"notebook-{made_up.replace('.', '-')}"
    _make_forged(world, forged_name, labels, json.dumps(identity))
    yield
    world.until_found("forged", made_up)
    yield
    take_away_untouched(world, forged_name)
    world.stop(job_id)


@KINDS.enter("forged pod: a copy of a signed one")
def copied(world: KubeWorld, choose: random.Random) -> Iterator[None]:
    """The signature is ours, and the pod is not the one that it was made for."""
    job_id = world.running()
    original = world.kube.get("pod", world.pod(job_id).name, namespace=world.ground.namespace)["metadata"]
    name = f"copy-{choose.getrandbits(48):x}"
    _make_forged(world, name, original["labels"], original["annotations"]["sampan.io/identity"])
    yield
    is_told = lambda: any(name in subject for _, subject in world.one.findings())  # noqa: E731
    wait_until(is_told, 30, "it is shown to administrators")
    world.one.until_running(job_id)
    yield
    world.stop(job_id)
    take_away_untouched(world, name)


def _make_forged(world: KubeWorld, name: str, labels: dict[str, str], identity: str) -> None:
    world.judges["one"].forged.add(name)
    container = {
        "name": "main",
        "image": "kt.local/busybox:1",
        "command": ["sleep", "600"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "securityContext": security,
        "containers": [container],
    }
    metadata = {"name": name, "labels": labels, "annotations": {"sampan.io/identity": identity}}
    world.kube.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, namespace=world.ground.namespace
    )
    world.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def take_away_untouched(world: KubeWorld, name: str) -> None:
    """Nothing was done to it for some looks; then whoever made it takes it away."""
    time.sleep(LOOKS_S)
    pod = world.kube.get("pod", name, namespace=world.ground.namespace)
    assert "deletionTimestamp" not in pod["metadata"], "what is not ours is never touched"
    world.kubectl("delete", "pod", name)
