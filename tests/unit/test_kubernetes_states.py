"""Kubernetes' words in ours: every row of the closed tables, and what they do not have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sampan_hub.backends.base import Phase
from sampan_hub.backends.kubernetes import states
from sampan_hub.backends.kubernetes.client import ApiRefused
from sampan_hub.backends.kubernetes.refusals import explain_refusal
from sampan_hub.backends.kubernetes.waiting import EVENTS, explain_waiting
from sampan_hub.jobs.model import Exit


def ended(
    *,
    code: int | None = None,
    why: str = "Error",
    reason: str | None = None,
    disruption: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Failed", **more}
    if reason is not None:
        status["reason"] = reason
    if code is not None:
        terminated = {"exitCode": code, "reason": why, "startedAt": AT, "finishedAt": AT}
        status["containerStatuses"] = [{"name": "main", "state": {"terminated": terminated}}]
    if disruption is not None:
        status["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": disruption}]
    limits = {"limits": {"memory": "1073741824"}}
    return {"spec": {"containers": [{"resources": limits, "image": "own/image:2"}]}, "status": status}


AT = "2026-01-02T03:04:05Z"


def waiting(word: str = "", message: str = "", **status: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": word, "message": message}} if word else {}
    pod = ended()
    pod["status"] = {"phase": "Pending", "containerStatuses": [{"name": "main", "state": state}], **status}
    return pod


def unscheduled(message: str, reason: str = "Unschedulable") -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return waiting(conditions=[condition])


def running(**status: Any) -> dict[str, Any]:
    container = {"name": "main", "ready": True, "state": {"running": {"startedAt": AT}}}
    return {"status": {"phase": "Running", "containerStatuses": [container], **status}}


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("Pending", Phase.QUEUED),
        ("Running", Phase.RUNNING),
        ("Succeeded", Phase.ENDED),
        ("Failed", Phase.ENDED),
        ("Unknown", Phase.UNKNOWN),
        ("Dancing", Phase.UNKNOWN),
    ],
)
def test_phases(word: str, phase: Phase) -> None:
    assert states.phase_of({"status": {"phase": word}}) is phase


def test_a_pod_without_any_status_is_unknown() -> None:
    assert states.phase_of({}) is Phase.UNKNOWN


def test_what_runs_on_a_node_that_fell_silent_is_unknown_and_not_dead() -> None:
    assert states.phase_of(running(conditions=[{"type": "Ready", "status": "False"}])) is Phase.UNKNOWN
    assert states.phase_of(running(conditions=[{"type": "Ready", "status": "True"}])) is Phase.RUNNING
    ending = running(conditions=[{"type": "Ready", "status": "False"}])
    ending["status"]["containerStatuses"][0]["ready"] = False
    assert states.phase_of(ending) is Phase.RUNNING


@pytest.mark.parametrize(
    ("pod", "code", "exit_"),
    [
        (ended(code=0, why="Completed"), None, Exit(code=0)),
        (ended(code=3), None, Exit(code=3)),
        (ended(code=143), None, Exit(signal=15)),
        (ended(code=137, why="OOMKilled"), "out-of-memory", Exit(signal=9)),
        (ended(code=128, why="ContainerCannotRun"), "cannot-run", None),
        (ended(code=128, why="StartError"), "cannot-run", None),
        (ended(code=137, why="ContainerStatusUnknown"), "node-lost", None),
        (ended(reason="Evicted"), "evicted", None),
        (ended(reason="DeadlineExceeded"), "deadline", None),
        (ended(reason="NodeShutdown"), "node-shutdown", None),
        (ended(reason="Terminated"), "node-shutdown", None),
        (ended(reason="NodeLost"), "node-lost", None),
        (ended(reason="OutOfcpu"), "node-refused", None),
        (ended(reason="UnexpectedAdmissionError"), "node-refused", None),
        (ended(code=137, disruption="PreemptionByScheduler"), "preempted", Exit(signal=9)),
        (ended(code=143, disruption="DeletionByTaintManager"), "node-lost", None),
        (ended(code=143, disruption="EvictionByEvictionAPI"), "drained", Exit(signal=15)),
        (ended(code=143, disruption="TerminationByKubelet"), "node-shutdown", Exit(signal=15)),
        (ended(reason="SomethingNew"), None, None),
    ],
)
def test_ends(pod: dict[str, Any], code: str | None, exit_: Exit | None) -> None:
    told = states.explain_end(pod, was_deleted=False)
    assert (told.code if told else None) == code
    assert states.exit_of(pod) == exit_


def test_every_end_has_its_sentence() -> None:
    codes = {*states.POD_ENDS.values(), *states.DISRUPTIONS.values(), *states.CONTAINER_ENDS.values()}
    assert codes - {"out-of-memory"} <= states.SENTENCES.keys()


def test_out_of_memory_names_the_limit() -> None:
    told = states.explain_end(ended(code=137, why="OOMKilled"), was_deleted=False)
    assert told is not None
    assert "more memory than its 1G" in told.text


def test_an_eviction_says_what_ran_short() -> None:
    message = "The node was low on resource: memory.\nThreshold quantity: 100Mi"
    told = states.explain_end(ended(reason="Evicted", message=message), was_deleted=False)
    assert told is not None
    assert told.text.endswith("Kubernetes says: The node was low on resource: memory. Threshold quantity: 100Mi")


def test_a_deletion_by_others_is_told_where_nothing_else_is_known() -> None:
    told = states.explain_end(running(), was_deleted=True)
    assert told is not None
    assert told.code == "deleted"
    drained = states.explain_end(ended(disruption="EvictionByEvictionAPI"), was_deleted=True)
    assert drained is not None
    assert drained.code == "drained"


def test_times() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert states.started_at(running()) == at
    assert states.ended_at(ended(code=0)) == at
    assert states.parse_time("yesterday") is None
    assert states.parse_time(None) is None


@pytest.mark.parametrize(
    ("pod", "code", "words"),
    [
        (waiting("ErrImagePull", "no such host"), "image", "image own/image:2 cannot be fetched: no such host"),
        (waiting("ImagePullBackOff"), "image", "ImagePullBackOff"),
        (waiting("ErrImageNeverPull"), "image", "own/image:2"),
        (waiting("InvalidImageName"), "image", "own/image:2"),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), "configuration", 'secret "x" not found'),
        (waiting("CreateContainerError", "denied"), "configuration", "denied"),
        (
            unscheduled("0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}."),
            "no-room",
            "(1 without enough free cores, 2 kept for something else; 3 in all)",
        ),
        (
            unscheduled("0/2 nodes are available: 1 Insufficient memory, 1 Insufficient nvidia.com/gpu."),
            "no-room",
            "(1 without enough free memory, 1 without a free GPU; 2 in all)",
        ),
        (
            unscheduled("0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 …"),
            "no-room",
            "1 closed for maintenance",
        ),
        (
            unscheduled("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."),
            "no-room",
            "2 of another sort",
        ),
        (
            unscheduled("0/1 nodes are available: 1 something new."),
            "no-room",
            "No node can take it: 0/1 nodes are available: 1 something new.",
        ),
        (
            unscheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
            "volume",
            "is being made",
        ),
        (unscheduled('persistentvolumeclaim "home-ana" not found'), "volume", "volume home-ana is not there"),
        (unscheduled("", "SchedulingGated"), "held", "held back"),
        (unscheduled("a plugin said no"), "no-node", "a plugin said no"),
        (waiting(conditions=[{"type": "PodScheduled", "status": "True"}]), "preparing", "preparing"),
        ({"status": {"phase": "Pending"}}, "scheduling", "choosing a node"),
    ],
)
def test_why_it_waits(pod: dict[str, Any], code: str, words: str) -> None:
    told = explain_waiting(pod)
    assert told.code == code
    assert words in told.text


def test_the_newest_note_tells_why_a_pod_on_its_node_waits() -> None:
    pod = waiting("ContainerCreating", conditions=[{"type": "PodScheduled", "status": "True"}])
    events = [
        {"reason": "FailedMount", "message": "timed out\n waiting", "lastTimestamp": "2026-01-01T00:00:02Z"},
        {"reason": "Pulling", "message": "", "lastTimestamp": "2026-01-01T00:00:01Z"},
        {"reason": "Unheard", "message": "", "lastTimestamp": "2026-01-01T00:00:03Z"},
    ]
    told = explain_waiting(pod, events)
    assert (told.code, told.text) == ("volume", "A volume cannot be mounted yet: timed out waiting")


def test_a_node_that_is_being_added_is_told() -> None:
    pod = unscheduled("0/1 nodes are available: 1 Insufficient cpu.")
    assert explain_waiting(pod, [{"reason": "TriggeredScaleUp"}]).code == "scaling-up"
    assert explain_waiting(pod, [{"reason": "FailedMount"}]).code == "no-room"


def test_every_note_has_words() -> None:
    for reason in EVENTS:
        pod = waiting("ContainerCreating", conditions=[{"type": "PodScheduled", "status": "True"}])
        assert explain_waiting(pod, [{"reason": reason, "message": "because"}]).text


@pytest.mark.parametrize(
    ("status", "reason", "message", "code"),
    [
        (
            403,
            "Forbidden",
            'pods "x" is forbidden: exceeded quota: team, requested: pods=1, used: pods=5, limited: pods=5',
            "quota",
        ),
        (
            403,
            "Forbidden",
            'pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 4',
            "limit-range",
        ),
        (403, "Forbidden", 'pods "x" is forbidden: violates PodSecurity "restricted:latest"', "pod-security"),
        (
            403,
            "Forbidden",
            "unable to create new content in namespace x because it is being terminated",
            "namespace-gone",
        ),
        (403, "Forbidden", 'User "x" cannot create resource "pods"', "forbidden"),
        (422, "Invalid", "spec.containers[0].image: Required value", "invalid"),
        (400, "BadRequest", "json: cannot unmarshal", "invalid"),
        (404, "NotFound", 'namespaces "x" not found', None),
        (409, "Conflict", "the object has been modified", None),
        (429, "TooManyRequests", "slow down", None),
        (500, "InternalError", "failed calling webhook", None),
    ],
)
def test_refusals(status: int, reason: str, message: str, code: str | None) -> None:
    told = explain_refusal(ApiRefused(status, reason, message))
    assert (told.code if told else None) == code


def test_a_quota_says_how_much_is_used() -> None:
    message = 'pods "x" is forbidden: exceeded quota: team, requested: cpu=1, used: cpu=8, limited: cpu=8'
    told = explain_refusal(ApiRefused(403, "Forbidden", message))
    assert told is not None
    assert told.text == (
        "The quota team of the namespace is used up: cpu=8 of cpu=8 are in use, cpu=1 more were asked for."
    )
