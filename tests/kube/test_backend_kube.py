"""What the contract does not say and only a real cluster shows: ends in words, waiting, homes, quotas, many at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.backends.base import JobSpec, Observed, Phase
from sampan_hub.backends.kubernetes.names import home_claim, pod_name
from sampan_hub.jobs.model import Kind, Resources
from tests.contract.backend_rigs import until_phase
from tests.contract.local_jobs import find
from tests.kube.kube_rig import RESTRICTED, SIMULATED, Ground, KubeRig
from tests.testbeds.kube.cluster import KubeCluster

ONE_NODE = {"storage": {"home": {"size": "16M"}}}
Maker = Callable[..., KubeRig]


@pytest.fixture(scope="module")
def ground(kube: KubeCluster) -> Iterator[Ground]:
    with kube.namespace("backend", RESTRICTED) as namespace:
        made = Ground(kube, namespace)
        yield made
        made.close()


@pytest.fixture
async def make(ground: Ground, tmp_path: Path) -> AsyncIterator[Maker]:
    rigs: list[KubeRig] = []

    def made(**settings: Any) -> KubeRig:
        rigs.append(KubeRig(ground, tmp_path, **settings))
        return rigs[-1]

    yield made
    for rig in rigs:
        await rig.close()


async def see(rig: KubeRig, job_id: str, holds: Callable[[Observed], Any], what: str) -> Observed:
    deadline = time.monotonic() + 60
    while (seen := find(await rig.backend.observe(), job_id)) is None or not holds(seen):
        assert time.monotonic() < deadline, f"not {what}: {seen}"
        await asyncio.sleep(0.1)
    return seen


async def started(rig: KubeRig, spec: JobSpec) -> JobSpec:
    submitted = await rig.backend.submit([spec])
    assert submitted.accepted == {spec.job_id}, submitted
    return spec


async def eventually(check: Callable[[], Awaitable[bool]], what: str, limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not await check():
        assert time.monotonic() < deadline, f"never came: {what}"
        await asyncio.sleep(0.2)


async def test_out_of_memory_is_told_with_the_limit_and_the_log(make: Maker) -> None:
    rig = make()
    script = "echo filling; x=0123456789abcdef; while :; do x=$x$x; done"
    spec = await started(rig, replace(rig.spec(), argv=("sh", "-c", script)))
    ended = await until_end(rig, spec)
    assert ended.reason is not None
    assert ended.reason.code == "out-of-memory", ended
    assert "32M" in ended.reason.text
    assert (await rig.backend.read_log(spec.job_id, 5)).lines[0] == "filling"


async def until_end(rig: KubeRig, spec: JobSpec) -> Observed:
    return await see(rig, spec.job_id, lambda seen: seen.phase is Phase.ENDED, "ended")


async def test_a_pod_deleted_by_an_administrator_is_told_and_the_next_one_is_untouched(make: Maker) -> None:
    rig = make()
    spec, other = await started(rig, rig.spec()), await started(rig, rig.spec())
    await until_phase(rig, spec.job_id, Phase.RUNNING)
    rig.kube.kubectl("delete", "pod", pod_name(Kind.WORKER, spec.job_id), "--now", f"--namespace={rig.namespace}")
    ended = await until_end(rig, spec)
    assert ended.reason is not None
    assert ended.reason.code == "deleted"
    await until_phase(rig, other.job_id, Phase.RUNNING)


async def test_an_evicted_pod_is_told_as_such(make: Maker) -> None:
    rig = make()
    spec = await started(rig, rig.spec())
    await until_phase(rig, spec.job_id, Phase.RUNNING)
    name = pod_name(Kind.WORKER, spec.job_id)
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": rig.namespace},
        "deleteOptions": {"gracePeriodSeconds": 1},
    }
    path = f"/api/v1/namespaces/{rig.namespace}/pods/{name}/eviction"
    rig.kube.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    ended = await until_end(rig, spec)
    assert ended.reason is not None
    assert ended.reason.code == "drained"


async def test_an_image_that_is_not_there_is_told_while_the_job_waits_and_a_stop_ends_it(make: Maker) -> None:
    rig = make(image="kt.local/nowhere:1", image_pull_policy="Never")
    spec = await started(rig, rig.spec())
    seen = await see(rig, spec.job_id, lambda seen: seen.reason and seen.reason.code == "image", "told")
    assert seen.phase is Phase.QUEUED
    assert seen.reason is not None
    assert "kt.local/nowhere:1" in seen.reason.text
    await rig.backend.cancel([spec.job_id])
    await until_end(rig, spec)


async def test_a_node_without_room_is_told(make: Maker) -> None:
    rig = make()
    spec = await started(rig, rig.spec(Resources(900, 20 << 30)))
    second = await started(rig, rig.spec(Resources(900, 20 << 30)))
    seen = await see(rig, second.job_id, lambda seen: seen.reason and seen.reason.code == "no-room", "told")
    assert seen.reason is not None
    assert "without enough free memory" in seen.reason.text
    assert "kept for something else" in seen.reason.text
    await rig.backend.cancel([spec.job_id, second.job_id])
    await until_end(rig, second)


async def test_a_size_that_no_node_can_hold_is_refused_with_that_sentence(make: Maker) -> None:
    rig = make()
    spec = rig.spec(Resources(900, 900 << 30))
    submitted = await rig.backend.submit([spec])
    assert submitted.refused[spec.job_id].code == "does-not-fit"
    assert "the largest node has 2 cores" in submitted.refused[spec.job_id].text


async def test_a_quota_that_ends_half_way_through_many_refuses_the_rest(make: Maker, kube: KubeCluster) -> None:
    with kube.namespace("quota", RESTRICTED) as namespace:
        ground = Ground(kube, namespace)
        rig = KubeRig(ground, make().folder / "quota", image="kt.local/busybox:1")
        about = {"name": "team", "namespace": namespace}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": about, "spec": {"hard": {"pods": "20"}}}
        kube.apply(quota)
        await eventually(lambda: _is_counted(kube, namespace), "the quota's first count")
        try:
            specs = rig.batch(50, Resources(2000, 1 << 30))
            submitted = await rig.backend.submit(specs)
            assert len(submitted.accepted) == 20
            assert len(submitted.refused) == 30
            assert {reason.code for reason in submitted.refused.values()} == {"quota"}
            assert "The quota team of the namespace is used up" in next(iter(submitted.refused.values())).text
            assert len(rig.pods()) == 20
        finally:
            await rig.close()
            ground.close()


async def _is_counted(kube: KubeCluster, namespace: str) -> bool:
    return "hard" in kube.get("resourcequota", "team", namespace=namespace).get("status", {})


async def test_a_hundred_pods_at_once_cost_a_request_each_and_looking_costs_none(make: Maker) -> None:
    rig = make()
    specs = rig.batch(100, Resources(500, 64 << 20), size=SIMULATED)
    begun_s = time.monotonic()
    submitted = await rig.backend.submit(specs)
    took_s = time.monotonic() - begun_s
    assert len(submitted.accepted) == 100
    assert took_s < 20, "nothing here holds requests back"

    async def all_run() -> bool:
        jobs = (await rig.backend.observe()).jobs
        return len(jobs) == 100 and all(job.phase is Phase.RUNNING for job in jobs)

    await eventually(all_run, "all run")
    await rig.reopen(fresh_s=3600.0)

    async def follows() -> bool:
        return await all_run() and rig.backend._pods.is_following

    await eventually(follows, "the same to another service")
    passed = rig.relay.pieces
    for _ in range(50):
        assert len((await rig.backend.observe()).jobs) == 100
    assert rig.relay.pieces - passed < 10, "no request, but for what the watch tells by itself"
    await rig.backend.cancel([spec.job_id for spec in specs])

    async def all_gone() -> bool:
        return all(job.phase is Phase.ENDED for job in (await rig.backend.observe()).jobs) and not rig.pods()

    await eventually(all_gone, "all gone")


async def test_a_watch_that_is_cut_again_and_again_misses_nothing(make: Maker) -> None:
    rig = make()
    specs = rig.batch(4)
    await rig.backend.submit(specs)
    for place, spec in enumerate(specs):
        await until_phase(rig, spec.job_id, Phase.RUNNING)
        rig.relay.cut()
        rig.let_end(spec.job_id, place)
        rig.relay.cut()
        ended = await until_end(rig, spec)
        assert ended.exit is not None
        assert ended.exit.code == place


async def test_a_restarted_service_knows_what_ended_and_what_was_deleted_meanwhile(make: Maker) -> None:
    rig = make()
    stays, ends, goes = rig.batch(3)
    await rig.backend.submit([stays, ends, goes])
    for spec in (stays, ends, goes):
        await until_phase(rig, spec.job_id, Phase.RUNNING)
    await rig.backend.aclose()
    rig.let_end(ends.job_id, 7)
    rig.kube.kubectl("delete", "pod", pod_name(Kind.WORKER, goes.job_id), "--now", f"--namespace={rig.namespace}")
    await rig.reopen()
    assert (await until_end(rig, ends)).exit is not None
    told = (await until_end(rig, goes)).reason
    assert told is not None
    assert told.code == "deleted"
    await until_phase(rig, stays.job_id, Phase.RUNNING)


async def test_with_a_home_of_one_node_workers_go_anywhere_and_notebooks_to_the_home(make: Maker) -> None:
    rig = make(**ONE_NODE)
    notebooks = [rig.spec(kind=Kind.NOTEBOOK, owner="Ana Lima") for _ in range(2)]
    worker = rig.spec(owner="Ana Lima")
    far = rig.spec(Resources(1500, 64 << 20), owner="Ana Lima")
    await rig.backend.submit([*notebooks, worker, far])
    for spec in (*notebooks, worker, far):
        await see(rig, spec.job_id, lambda seen: seen.phase is Phase.RUNNING, "running")
    on = {spec.job_id: rig.pod(spec.job_id, spec.identity.kind)["spec"]["nodeName"] for spec in (*notebooks, far)}
    assert on[notebooks[0].job_id] == on[notebooks[1].job_id] == rig.kube.NODE
    assert on[far.job_id].startswith("kwok-"), "a worker is not kept to the node of the home"
    claim = rig.kube.get("persistentvolumeclaim", home_claim("Ana Lima"), namespace=rig.namespace)
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
    for spec in (*notebooks, worker, far):
        await rig.backend.cancel([spec.job_id])
        await until_end(rig, spec)
    rig.kube.get("persistentvolumeclaim", home_claim("Ana Lima"), namespace=rig.namespace)


async def test_a_shared_home_is_the_same_for_notebook_and_worker(make: Maker) -> None:
    rig = make()
    writes = ("sh", "-c", "umask 077; echo hello > $HOME/x; echo written; sleep 1000")
    notebook = await started(rig, replace(rig.spec(kind=Kind.NOTEBOOK), argv=writes))
    await until_log(rig, notebook, "written")
    reads = ("sh", "-c", "id -u; cat $HOME/x; touch /scratch/y /tmp/z && echo room")
    worker = await started(rig, replace(rig.spec(), argv=reads))
    await until_end(rig, worker)
    assert (await rig.backend.read_log(worker.job_id, 9)).lines == ("1000", "hello", "room")


async def until_log(rig: KubeRig, spec: JobSpec, text: str) -> None:
    async def has_it() -> bool:
        return text in (await rig.backend.read_log(spec.job_id, 100)).lines

    await eventually(has_it, f"{text!r} in the log")


async def test_a_job_has_its_run_its_address_and_a_token_of_its_own_and_no_rights(make: Maker) -> None:
    rig = make()
    script = "echo $SAMPAN_RUN; echo $SAMPAN_ADDRESS; cut -c1-2 /var/run/sampan/token; ls /var/run/secrets 2>&1"
    spec = await started(rig, replace(rig.spec(), argv=("sh", "-c", script)))
    ended = await until_end(rig, spec)
    lines = (await rig.backend.read_log(spec.job_id, 9)).lines
    assert ended.run is not None
    assert lines[0] == ended.run.token
    assert lines[1].startswith("10.201.")
    assert lines[2] == "ey"
    assert "No such file" in lines[3], "no token for the API server"


async def test_policies_let_a_persons_pods_reach_each_other_and_nobody_elses(make: Maker) -> None:
    rig = make(allow=[])
    serve = ("sh", "-c", "echo mine > /tmp/index.html; httpd -f -p 31500 -h /tmp")
    servers = {owner: replace(rig.spec(owner=owner), argv=serve) for owner in ("ana", "ben")}
    await rig.backend.submit(list(servers.values()))
    addresses = {}
    for owner, spec in servers.items():
        await until_phase(rig, spec.job_id, Phase.RUNNING)
        addresses[owner] = rig.pod(spec.job_id)["status"]["podIP"]
    wait = "until [ $(timeout 3 wget -q -O- http://{0}:31500/ 2>/dev/null) ]; do sleep 0.2; done; echo reached"
    its_own = await started(rig, replace(rig.spec(owner="ben"), argv=("sh", "-c", wait.format(addresses["ben"]))))
    await until_end(rig, its_own)
    assert (await rig.backend.read_log(its_own.job_id, 9)).lines == ("reached",)
    tries = (
        "for url in {other}:31500 {other}:31500 {host}; do timeout 3 wget -q -O- $url 2>/dev/null || echo nothing; done"
    )
    host = rig.exits.url.removeprefix("http://")
    text = f"{wait.format(addresses['ana'])}; {tries.format(other=addresses['ben'], host=host)}"
    asking = await started(rig, replace(rig.spec(owner="ana"), argv=("sh", "-c", text)))
    await until_end(rig, asking)
    assert (await rig.backend.read_log(asking.job_id, 9)).lines == ("reached", "nothing", "nothing", "nothing")


async def test_a_policy_is_there_before_the_first_pod_and_gone_after_the_last(make: Maker) -> None:
    rig = make()
    spec = await started(rig, rig.spec(owner="Carla"))
    selector = f"--selector=sampan.io/instance={rig.instance}"
    (policy,) = rig.kube.get("networkpolicies", selector, namespace=rig.namespace)["items"]
    assert policy["metadata"]["creationTimestamp"] <= rig.pod(spec.job_id)["metadata"]["creationTimestamp"]
    await rig.backend.cancel([spec.job_id])
    await until_end(rig, spec)

    async def nothing_is_left() -> bool:
        await rig.backend.observe()
        left = rig.kube.get("pods,networkpolicies,secrets", selector, namespace=rig.namespace)["items"]
        return not left

    await eventually(nothing_is_left, "nothing with our label", limit_s=60)


async def test_a_copy_of_a_pod_under_another_name_is_a_stranger(make: Maker) -> None:
    rig = make()
    spec = await started(rig, rig.spec())
    pod = rig.pod(spec.job_id)
    other = rig.spec()
    about = {key: pod["metadata"][key] for key in ("labels", "annotations")}
    container = {**pod["spec"]["containers"][0], "volumeMounts": []}
    body = {**pod["spec"], "containers": [container], "volumes": [], "nodeName": None}
    name = pod_name(Kind.WORKER, other.job_id)
    rig.kube.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **about}, "spec": body}, namespace=rig.namespace
    )
    seen = await see(rig, other.job_id, lambda _: True, "shown")
    assert seen.identity == spec.identity, "so the plan sees that it speaks of another job"
    await rig.backend.cancel([other.job_id])
    assert "deletionTimestamp" not in rig.pod(other.job_id)["metadata"]
