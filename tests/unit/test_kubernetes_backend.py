"""The Kubernetes backend over a small API server: what is asked in which order, what is noted before what goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sampan_hub.backends.base import BackendError, Expected, JobSpec, Listing, Observed, Phase
from sampan_hub.backends.kubernetes import KubernetesBackend, belongings, ending, noticing, outputs, submitting
from sampan_hub.backends.kubernetes.client import KubeClient
from sampan_hub.backends.kubernetes.names import pod_name
from sampan_hub.backends.kubernetes.pod import make_pod
from sampan_hub.jobs.keys import sign
from sampan_hub.jobs.model import Exit, Kind, Resources
from tests.unit.kubernetes_cases import INSTANCE, KEY, make_identity, make_settings, make_spec
from tests.unit.kubernetes_server import Json, KubeServer, serve, status

AT = "2026-01-02T03:04:05Z"
RUNNING = {
    "phase": "Running",
    "podIP": "10.1.2.3",
    "containerStatuses": [{"name": "main", "ready": True, "started": True, "state": {"running": {"startedAt": AT}}}],
}


def over(code: int, why: str = "Error") -> Json:
    terminated = {"exitCode": code, "reason": why, "startedAt": AT, "finishedAt": AT}
    return {
        "phase": "Succeeded" if code == 0 else "Failed",
        "containerStatuses": [{"name": "main", "ready": False, "state": {"terminated": terminated}}],
    }


class Bench:
    """A server, and backends over it as services make them."""

    def __init__(self, server: KubeServer, folder: Path, stack: AsyncExitStack) -> None:
        self.server = server
        self.folder = folder
        self._stack = stack
        self.backend = self.make()

    def make(self, journal: str = "journal.sqlite", **settings: Any) -> KubernetesBackend:
        made = KubernetesBackend(
            "kubernetes",
            make_settings(**settings),
            INSTANCE,
            KubeClient(self.server.access),
            signing_key=KEY,
            journal=self.folder / journal,
            images={},
            prove=prove,
        )
        self._stack.push_async_callback(made.aclose)
        return made

    def spec(self, index: int = 0, **changes: Any) -> JobSpec:
        return make_spec(make_identity(index=index, **changes))

    async def running(self, index: int = 0, **changes: Any) -> JobSpec:
        """A job that was submitted and runs."""
        spec = self.spec(index, **changes)
        assert (await self.backend.submit([spec])).accepted == {spec.job_id}
        await self.server.set_status(self.name(spec), RUNNING)
        await self.until(spec, Phase.RUNNING)
        return spec

    async def until_swept(self) -> None:
        deadline = time.monotonic() + 10
        while self.server.objects["networkpolicies"]:
            assert time.monotonic() < deadline, "policies are not swept"
            await self.backend.observe()
            await asyncio.sleep(0.01)

    def pod(self, spec: JobSpec) -> Json:
        return self.server.objects["pods"][self.name(spec)]

    @staticmethod
    def name(spec: JobSpec) -> str:
        return pod_name(spec.identity.kind, spec.job_id)

    async def until(self, spec: JobSpec, phase: Phase) -> Observed:
        deadline = time.monotonic() + 10
        while (seen := find(await self.backend.observe(), spec)) is None or seen.phase is not phase:
            assert time.monotonic() < deadline, f"not {phase}: {seen}"
            await asyncio.sleep(0.01)
        return seen


async def prove(_host: str, port: int, _job_id: str) -> bool:
    if port == 1:
        raise OSError("nobody answers")
    return port == 31000


def find(listing: Listing, spec: JobSpec) -> Observed | None:
    return next((job for job in listing.jobs if job.job_id == spec.job_id), None)


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        await asyncio.sleep(0.01)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with serve() as server, AsyncExitStack() as stack:
        yield Bench(server, tmp_path, stack)


def answering(*answers: web.Response, to: str) -> Callable[[web.Request], Awaitable[web.Response | None]]:
    """A fault: these answers to the next requests of this sort, and then none."""
    left = list(answers)

    async def fault(request: web.Request) -> web.Response | None:
        method, _, ending_ = to.partition(" ")
        if left and request.method == method and request.path.endswith(ending_):
            return left.pop(0)
        return None

    return fault


# ---- submitting


async def test_policy_and_home_are_there_before_the_first_pod_and_asked_for_once(bench: Bench) -> None:
    notebook = bench.spec(kind=Kind.NOTEBOOK)
    await bench.backend.submit([notebook])
    made = [request for request in bench.server.requests if request.startswith("POST")]
    assert made == ["POST networkpolicies", "POST persistentvolumeclaims", "POST pods"]
    await bench.backend.submit([bench.spec(index, kind=Kind.NOTEBOOK) for index in range(1, 9)])
    assert bench.server.count("POST networkpolicies") == 1
    assert bench.server.count("POST persistentvolumeclaims") == 1
    assert bench.server.count("POST pods") == 9


async def test_a_policy_of_other_settings_is_replaced(bench: Bench) -> None:
    await bench.backend.submit([bench.spec()])
    (before,) = bench.server.objects["networkpolicies"].values()
    stricter = bench.make("other.sqlite", internet=False)
    await stricter.submit([bench.spec(1)])
    (after,) = bench.server.objects["networkpolicies"].values()
    assert before["spec"] != after["spec"]


async def test_a_home_made_for_one_node_stays_so_when_the_settings_become_generous(bench: Bench) -> None:
    await bench.backend.submit([bench.spec(0, kind=Kind.NOTEBOOK)])
    generous = bench.make("other.sqlite", storage={"home": {"access": "ReadWriteMany"}})
    worker, others = bench.spec(1), bench.spec(2, owner="ben")
    await generous.submit([worker, others])
    claims = {
        spec.job_id: any("persistentVolumeClaim" in volume for volume in bench.pod(spec)["spec"]["volumes"])
        for spec in (worker, others)
    }
    assert claims == {worker.job_id: False, others.job_id: True}, "no worker waits for a volume of another node"


async def test_a_pod_whose_making_was_not_answered_is_found_by_its_name(bench: Bench) -> None:
    spec = bench.spec()
    await bench.backend.submit([spec])
    again = bench.make("other.sqlite")
    assert (await again.submit([spec])).accepted == {spec.job_id}
    assert len(bench.server.objects["pods"]) == 1


async def test_a_pod_that_is_not_this_jobs_keeps_its_name(bench: Bench) -> None:
    spec = bench.spec()
    await bench.server.put_pod({"metadata": {"name": bench.name(spec), "labels": {}}})
    submitted = await bench.backend.submit([spec])
    assert submitted.accepted == frozenset()
    assert submitted.refused[spec.job_id].code == "name-taken"


async def test_a_quota_that_ends_half_way_refuses_the_rest_with_its_sentence(bench: Bench) -> None:
    message = 'pods "x" is forbidden: exceeded quota: team, requested: pods=1, used: pods=2, limited: pods=2'
    specs = [bench.spec(index) for index in range(5)]

    async def quota(request: web.Request) -> web.Response | None:
        is_full = len(bench.server.objects["pods"]) >= 2
        return status(403, "Forbidden", message) if is_full and request.method == "POST" else None

    bench.server.fault = quota
    submitted = await bench.backend.submit(specs)
    assert len(submitted.accepted) == 2
    assert {reason.code for reason in submitted.refused.values()} == {"quota"}
    assert submitted.accepted | submitted.refused.keys() == {spec.job_id for spec in specs}


@pytest.mark.parametrize(
    "answer", [(409, "Conflict"), (429, "TooManyRequests"), (500, "InternalError"), (503, "ServiceUnavailable")]
)
async def test_what_may_pass_is_tried_again(bench: Bench, answer: tuple[int, str]) -> None:
    bench.server.fault = answering(status(*answer), status(*answer), to="POST /pods")
    spec = bench.spec()
    assert (await bench.backend.submit([spec])).accepted == {spec.job_id}


async def test_what_is_in_doubt_is_in_neither(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "BEGIN_CALLS_S", 0.1)
    specs = [bench.spec(0), bench.spec(1)]

    async def fault(request: web.Request) -> web.Response | None:
        if request.method != "POST" or not request.path.endswith("/pods"):
            return None
        body = await request.json()
        return status(500, "InternalError") if body["metadata"]["name"] == bench.name(specs[1]) else None

    bench.server.fault = fault
    submitted = await bench.backend.submit(specs)
    assert submitted.accepted == {specs[0].job_id}
    assert submitted.refused == {}
    with pytest.raises(BackendError):
        await bench.backend.submit([specs[1]])


NO_RIGHTS = 'pods is forbidden: User "system:serviceaccount:n:hub" cannot create resource "pods" in API group ""'


async def test_an_api_server_that_does_not_know_its_rights_yet_is_asked_again(bench: Bench) -> None:
    """One that has just started forbids what it will allow in a moment."""
    bench.server.fault = answering(*(status(403, "Forbidden", NO_RIGHTS) for _ in range(2)), to="POST /pods")
    spec = bench.spec()
    submitted = await bench.backend.submit([spec])
    assert (submitted.accepted, submitted.refused) == ({spec.job_id}, {})


async def test_what_stays_forbidden_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "BEGIN_CALLS_S", 0.5)
    bench.server.fault = answering(*(status(403, "Forbidden", NO_RIGHTS) for _ in range(50)), to="POST /pods")
    spec = bench.spec()
    submitted = await bench.backend.submit([spec])
    assert submitted.refused[spec.job_id].code == "forbidden"


async def test_what_no_node_can_hold_is_refused_and_the_rest_goes(bench: Bench) -> None:
    allocatable = {"cpu": "4", "memory": "8Gi"}
    ready = [{"type": "Ready", "status": "True"}]
    bench.server.objects["nodes"]["one"] = {
        "metadata": {"name": "one", "labels": {}},
        "status": {"allocatable": allocatable, "conditions": ready},
    }
    large = bench.spec(0, resources=Resources(8000, 1 << 30), size="large")
    small = bench.spec(1)
    submitted = await bench.backend.submit([large, small])
    assert submitted.accepted == {small.job_id}
    assert submitted.refused[large.job_id].text == (
        "large needs 8 cores and 1G; the largest node has 4 cores and 8G. Choose a smaller size."
    )
    capacity = await bench.backend.capacity()
    assert capacity.total == Resources(4000, 8 << 30)
    assert capacity.free == Resources(3500, 7 << 30)


async def test_where_nodes_may_not_be_listed_nothing_is_said_of_them(bench: Bench) -> None:
    bench.server.fault = answering(status(403, "Forbidden"), to="GET /nodes")
    spec = bench.spec(resources=Resources(10**9, 1 << 50))
    assert (await bench.backend.submit([spec])).accepted == {spec.job_id}
    assert (await bench.backend.capacity()).total is None


# ---- looking


async def test_looking_costs_no_request_while_nothing_is_missing(bench: Bench) -> None:
    specs = [await bench.running(index) for index in range(3)]
    await until(lambda: bench.server.watches(), "the watch")
    await bench.backend.observe()
    asked = len(bench.server.requests)
    expected = [Expected(spec.job_id, spec.identity.batch, spec.identity.index, datetime.now(UTC)) for spec in specs]
    for _ in range(20):
        assert len((await bench.backend.observe(expected)).jobs) == 3
    assert len(bench.server.requests) == asked


async def test_what_is_expected_and_not_shown_is_looked_for_in_a_full_listing(bench: Bench) -> None:
    await bench.running()
    lost = bench.spec(7)
    expected = [Expected(lost.job_id, lost.identity.batch, 7, datetime.now(UTC))]
    asked = bench.server.count("GET pods")
    first = await bench.backend.observe(expected)
    assert find(first, lost) is None
    second = await bench.backend.observe(expected)
    assert bench.server.count("GET pods") <= asked + 1, "not at every look"
    assert second.begun_at <= second.finished_at
    assert second.begun_at >= first.begun_at


async def test_changes_are_announced(bench: Bench) -> None:
    calls: list[None] = []
    bench.backend.announce(lambda: calls.append(None))
    await bench.backend.observe()
    await until(lambda: bench.server.watches(), "the watch")
    before = len(calls)
    await bench.server.put_pod({"metadata": {"name": "x", "labels": {"sampan.io/instance": INSTANCE}}})
    await until(lambda: len(calls) > before, "the call")


async def test_a_forged_pod_is_shown_with_what_it_claims_and_never_touched(bench: Bench) -> None:
    spec = bench.spec(owner="ana")
    await bench.backend.submit([spec])
    forged = make_spec(sign(b"a stranger's key", replace(bench.spec(5).identity, owner="ben")))
    own = bench.server.objects["pods"][bench.name(spec)]
    await bench.server.put_pod(make_pod(forged, make_settings(), {}))
    await bench.server.set_status(bench.name(forged), RUNNING)
    seen = await bench.until(forged, Phase.RUNNING)
    assert seen.identity == forged.identity
    await bench.backend.cancel([forged.job_id])
    await bench.server.set_status(bench.name(forged), over(0))
    seen = await bench.until(forged, Phase.UNKNOWN)
    assert bench.name(forged) in bench.server.objects["pods"]
    assert "DELETE pods" not in bench.server.requests
    assert own["metadata"]["uid"]


async def test_a_pod_with_our_label_and_another_name_is_a_trouble(bench: Bench) -> None:
    await bench.server.put_pod({"metadata": {"name": "x", "labels": {"sampan.io/instance": INSTANCE}}})
    listing = await bench.backend.observe()
    assert listing.jobs == ()
    assert "pod x has this installation's label" in listing.troubles[0]


async def test_notes_are_asked_for_only_while_something_waits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noticing, "GAP_S", 0.0)
    spec = bench.spec()
    await bench.backend.submit([spec])
    uid = bench.server.objects["pods"][bench.name(spec)]["metadata"]["uid"]
    bench.server.objects["events"]["one"] = {
        "metadata": {"name": "one"},
        "reason": "FailedMount",
        "message": "not yet",
        "involvedObject": {"uid": uid},
    }
    waiting = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}
    await bench.server.set_status(bench.name(spec), waiting)
    deadline = time.monotonic() + 10
    while (seen := find(await bench.backend.observe(), spec)) is None or "not yet" not in str(seen.reason):
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.01)
    await bench.server.set_status(bench.name(spec), RUNNING)
    await bench.until(spec, Phase.RUNNING)
    asked = bench.server.count("GET events")
    await bench.backend.observe()
    assert bench.server.count("GET events") == asked


async def test_a_pod_on_a_silent_node_is_out_of_sight_and_its_end_is_not_concluded(bench: Bench) -> None:
    spec = await bench.running()
    await bench.server.set_status(bench.name(spec), {**RUNNING, "conditions": [{"type": "Ready", "status": "False"}]})
    deadline = time.monotonic() + 10
    while find(listing := await bench.backend.observe(), spec) is not None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert "does not answer: how its jobs are (1) is unknown" in listing.troubles[0]
    await bench.server.set_status(bench.name(spec), RUNNING)
    await bench.until(spec, Phase.RUNNING)
    assert (await bench.backend.observe()).troubles == ()


# ---- ends


async def test_an_end_and_its_output_are_noted_before_the_pod_goes(bench: Bench) -> None:
    spec = await bench.running()
    bench.server.logs[bench.name(spec)] = b"one\ntwo\nthree\n"
    await bench.server.set_status(bench.name(spec), over(3))
    seen = await bench.until(spec, Phase.ENDED)
    assert seen.exit == Exit(code=3)
    await until(lambda: bench.name(spec) not in bench.server.objects["pods"], "the pod's deletion")
    assert bench.server.requests.index("GET pods/log") < bench.server.requests.index("DELETE pods")
    assert find(await bench.backend.observe(), spec) == seen
    assert (await bench.backend.read_log(spec.job_id, 2)).lines == ("two", "three")
    reopened = bench.make()
    assert find(await reopened.observe(), spec) == seen
    assert (await reopened.read_log(spec.job_id, 2)).truncated


async def test_a_pod_stays_while_its_output_cannot_be_had_but_not_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "PAUSE_S", 0.01)
    monkeypatch.setattr(ending, "TRY_OUTPUT_S", 0.3)
    spec = await bench.running()

    async def no_logs(request: web.Request) -> web.Response | None:
        return status(500, "InternalError", "node is away") if request.path.endswith("/log") else None

    bench.server.fault = no_logs
    await bench.server.set_status(bench.name(spec), over(0))
    await bench.until(spec, Phase.ENDED)
    assert bench.name(spec) in bench.server.objects["pods"]
    await until(lambda: bench.name(spec) not in bench.server.objects["pods"], "the pod's deletion")
    assert bench.server.count("GET pods/log") > 2


async def test_a_stop_deletes_this_very_pod_with_a_grace_and_ends_when_it_is_gone(bench: Bench) -> None:
    bench.server.keeps_deleted = True
    spec = await bench.running()
    bench.server.logs[bench.name(spec)] = b"so far\n"
    await bench.backend.cancel([spec.job_id])
    await bench.backend.cancel([spec.job_id, "no id at all"])
    seen = find(await bench.backend.observe(), spec)
    assert seen is not None
    assert seen.phase is Phase.RUNNING, "asked is not done"
    await bench.server.remove_pod(bench.name(spec))
    ended = await bench.until(spec, Phase.ENDED)
    assert ended.reason is None, "nobody but its owner ended it"
    assert (await bench.backend.read_log(spec.job_id, 5)).lines == ("so far",)


async def test_a_stop_does_not_wait_for_output(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "HURRY_S", 0.05)
    spec = await bench.running()

    async def slow(request: web.Request) -> web.Response | None:
        if request.path.endswith("/log"):
            await asyncio.sleep(5)
        return None

    bench.server.fault = slow
    await bench.backend.cancel([spec.job_id])
    await bench.until(spec, Phase.ENDED)


async def test_a_pod_that_somebody_deleted_is_told_as_such(bench: Bench) -> None:
    spec = await bench.running()
    await bench.server.remove_pod(bench.name(spec))
    ended = await bench.until(spec, Phase.ENDED)
    assert ended.reason is not None
    assert ended.reason.code == "deleted"
    assert ended.run is not None


async def test_what_went_while_nobody_looked_has_ended_if_it_is_the_same_namespace(bench: Bench) -> None:
    spec = await bench.running()
    await bench.backend.observe()
    await bench.backend.aclose()
    await bench.server.remove_pod(bench.name(spec))
    bench.backend = bench.make()
    ended = await bench.until(spec, Phase.ENDED)
    assert ended.reason is not None
    assert ended.reason.code == "deleted"


async def test_another_cluster_is_no_proof_of_anything(bench: Bench) -> None:
    spec = await bench.running()
    await bench.backend.observe()
    await bench.backend.aclose()
    await bench.server.remove_pod(bench.name(spec))
    bench.server.namespace_uid = "made anew"
    bench.backend = bench.make()
    with pytest.raises(BackendError, match="not the one in which jobs were started"):
        await bench.backend.observe()


async def test_where_the_namespace_is_not_shown_what_went_stays_unknown(bench: Bench) -> None:
    spec = await bench.running()
    await bench.backend.observe()
    await bench.backend.aclose()
    await bench.server.remove_pod(bench.name(spec))

    async def hidden(request: web.Request) -> web.Response | None:
        return status(403, "Forbidden", "no") if request.path.endswith("/science") else None

    bench.server.fault = hidden
    bench.backend = bench.make()
    listing = await bench.backend.observe()
    assert find(listing, spec) is None
    assert "stay unknown" in listing.troubles[0]


async def test_an_end_is_noted_once_by_two_services(bench: Bench) -> None:
    spec = await bench.running()
    other = bench.make()
    await other.observe()
    await bench.server.set_status(bench.name(spec), over(3))
    first = await bench.until(spec, Phase.ENDED)
    await until(lambda: bench.name(spec) not in bench.server.objects["pods"], "the pod's deletion")
    deadline = time.monotonic() + 10
    while (seen := find(await other.observe(), spec)) is None or seen.phase is not Phase.ENDED:
        assert time.monotonic() < deadline, seen
        await asyncio.sleep(0.01)
    assert seen == first


async def test_nothing_is_forgotten_that_may_run_and_what_is_forgotten_stays_so(bench: Bench) -> None:
    running, ended = await bench.running(0), await bench.running(1)
    await bench.server.set_status(bench.name(ended), over(0))
    await bench.until(ended, Phase.ENDED)
    with pytest.raises(BackendError, match=running.job_id):
        await bench.backend.forget([running.job_id, ended.job_id])
    for _ in range(3):
        assert find(await bench.backend.observe(), ended) is None
    assert find(await bench.backend.observe(), running) is not None


async def test_output_that_comes_after_its_job_was_forgotten_is_not_kept(bench: Bench) -> None:
    spec = await bench.running()
    bench.server.logs[bench.name(spec)] = b"late\n"
    asked, let_go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response | None:
        if request.path.endswith("/log"):
            asked.set()
            await let_go.wait()
        return None

    bench.server.fault = slow
    await bench.server.set_status(bench.name(spec), over(0))
    await bench.until(spec, Phase.ENDED)
    await asked.wait()
    await bench.backend.forget([spec.job_id])
    let_go.set()
    await until(lambda: bench.name(spec) not in bench.server.objects["pods"], "the pod's deletion")
    assert (await bench.backend.read_log(spec.job_id, 5)).lines == ()


# ---- what belongs to people


async def test_a_policy_is_swept_after_the_last_pod_and_a_home_never(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = await bench.running(kind=Kind.NOTEBOOK)
    policies = bench.server.objects["networkpolicies"]
    await bench.server.set_status(bench.name(spec), over(0))
    await bench.until(spec, Phase.ENDED)
    await until(lambda: not bench.server.objects["pods"], "the pod's deletion")
    await bench.backend.observe()
    assert policies, "the next job often comes soon"
    monkeypatch.setattr(belongings, "LINGER_S", 0.0)
    await bench.until_swept()
    assert bench.server.objects["persistentvolumeclaims"]


async def test_a_policy_left_by_an_earlier_service_is_swept(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.backend.submit([bench.spec()])
    await bench.backend.aclose()
    bench.server.objects["pods"].clear()
    monkeypatch.setattr(belongings, "LINGER_S", 0.0)
    bench.backend = bench.make("other.sqlite")
    await bench.until_swept()


async def test_no_look_waits_for_policies(bench: Bench) -> None:
    async def slow(request: web.Request) -> web.Response | None:
        if request.path.endswith("/networkpolicies"):
            await asyncio.sleep(30)
        return None

    bench.server.fault = slow
    async with asyncio.timeout(5):
        await bench.backend.observe()


async def test_a_policy_stays_while_a_pod_is_on_its_way(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belongings, "LINGER_S", 0.0)
    held, let_go = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response | None:
        if request.method == "POST" and request.path.endswith("/pods"):
            held.set()
            await let_go.wait()
        return None

    bench.server.fault = slow
    submit = asyncio.create_task(bench.backend.submit([bench.spec()]))
    await held.wait()
    for _ in range(5):
        await bench.backend.observe()
        await asyncio.sleep(0.01)
    assert bench.server.objects["networkpolicies"]
    assert "DELETE networkpolicies" not in bench.server.requests
    let_go.set()
    assert (await submit).accepted


# ---- listeners


async def test_a_listener_is_the_jobs_own_at_its_pods_address_with_its_certificate(bench: Bench) -> None:
    spec = await bench.running()
    assert await bench.backend.owns_listener(spec.job_id, "10.1.2.3", 31000)
    assert not await bench.backend.owns_listener(spec.job_id, "10.1.2.3", 31001)
    assert not await bench.backend.owns_listener(spec.job_id, "10.9.9.9", 31000)
    with pytest.raises(BackendError, match="cannot be reached"):
        await bench.backend.owns_listener(spec.job_id, "10.1.2.3", 1)
    with pytest.raises(BackendError, match="ask again"):
        await bench.backend.owns_listener(bench.spec(9).job_id, "10.1.2.3", 31000)
