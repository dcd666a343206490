"""Kubernetes' words for how a pod is, in ours: closed tables. Pure.

A word that no table has changes nothing by itself: phases decide, words only explain.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sampan_hub.backends.base import Phase
from sampan_hub.backends.kubernetes.pod import CONTAINER
from sampan_hub.jobs.model import Exit, Reason
from sampan_hub.settings.units import render_memory

Pod = Mapping[str, Any]

PHASES = {
    "Pending": Phase.QUEUED,
    "Running": Phase.RUNNING,
    "Succeeded": Phase.ENDED,
    "Failed": Phase.ENDED,
    "Unknown": Phase.UNKNOWN,
}

_SIGNALS_FROM = 128
_LAST_SIGNAL = 64

POD_ENDS = {
    "Evicted": "evicted",
    "DeadlineExceeded": "deadline",
    "NodeShutdown": "node-shutdown",
    "Terminated": "node-shutdown",
    "Shutdown": "node-shutdown",
    "NodeLost": "node-lost",
    "Preempting": "preempted",
    "NodeAffinity": "node-refused",
    "UnexpectedAdmissionError": "node-refused",
    "OutOfcpu": "node-refused",
    "OutOfmemory": "node-refused",
    "OutOfpods": "node-refused",
    "AppArmor": "node-refused",
    "SysctlForbidden": "node-refused",
}
"""By the pod's own reason."""
DISRUPTIONS = {
    "PreemptionByScheduler": "preempted",
    "DeletionByTaintManager": "node-lost",
    "EvictionByEvictionAPI": "drained",
    "DeletionByPodGC": "node-lost",
    "TerminationByKubelet": "node-shutdown",
}
"""By the reason of the condition `DisruptionTarget`."""
CONTAINER_ENDS = {
    "OOMKilled": "out-of-memory",
    "ContainerCannotRun": "cannot-run",
    "StartError": "cannot-run",
    "ContainerStatusUnknown": "node-lost",
}
"""By the container's own reason."""
SENTENCES = {
    "evicted": "Its node ran short of memory or disk, and Kubernetes ended the job.",
    "deadline": "Kubernetes ended the job because its time was over.",
    "node-shutdown": "Its node was shut down.",
    "node-lost": "Its node was lost.",
    "preempted": "Kubernetes ended the job to make room for something with a higher priority.",
    "drained": "Its node was emptied by an administrator, and the job was ended.",
    "node-refused": "The node that Kubernetes chose could not take the job. Start it again.",
    "cannot-run": "Its program could not be started.",
    "deleted": "Its pod was deleted in Kubernetes by somebody other than Sampan.",
}
_TELLING = frozenset({"evicted", "node-refused", "cannot-run"})
"""Those whose sentence is better with Kubernetes' own message after it."""


def phase_of(pod: Pod) -> Phase:
    """As far as Kubernetes says. What runs on a node that has fallen silent is unknown."""
    phase = PHASES.get(str(pod.get("status", {}).get("phase")), Phase.UNKNOWN)
    return Phase.UNKNOWN if is_out_of_sight(pod) else phase


def is_out_of_sight(pod: Pod) -> bool:
    """Whether its node says nothing any more: then the pod counts as not ready, though its container was last seen up.

    Jobs have no probes, so nothing else makes them so.
    """
    phase = pod.get("status", {}).get("phase")
    container = main_status(pod)
    is_up = bool(container.get("ready")) and "running" in container.get("state", {})
    return phase == "Unknown" or (phase == "Running" and is_up and condition(pod, "Ready").get("status") == "False")


def main_status(pod: Pod) -> Mapping[str, Any]:
    """The status of our container; empty before there is one."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status.get("name") == CONTAINER:
            return dict(status)
    return {}


def condition(pod: Pod, kind: str) -> Mapping[str, Any]:
    for each in pod.get("status", {}).get("conditions") or ():
        if each.get("type") == kind:
            return dict(each)
    return {}


def terminated_of(pod: Pod) -> Mapping[str, Any]:
    """How our container ended; empty while it has not."""
    return main_status(pod).get("state", {}).get("terminated") or {}


def started_at(pod: Pod) -> datetime | None:
    """When our container began."""
    state = main_status(pod).get("state", {})
    return parse_time((state.get("running") or state.get("terminated") or {}).get("startedAt"))


def ended_at(pod: Pod) -> datetime | None:
    """When our container ended, or the pod where that never began."""
    at = parse_time(terminated_of(pod).get("finishedAt"))
    return at or parse_time(condition(pod, "Ready").get("lastTransitionTime"))


def exit_of(pod: Pod) -> Exit | None:
    """As the container runtime says it: 128 and above are signals, as shells spell them."""
    code = terminated_of(pod).get("exitCode")
    if not isinstance(code, int) or end_code(pod) in ("node-lost", "cannot-run"):
        return None
    signal = code - _SIGNALS_FROM
    return Exit(signal=signal) if 0 < signal <= _LAST_SIGNAL else Exit(code=code)


def end_code(pod: Pod) -> str | None:
    """Which end of the tables this is; None where only the exit code tells."""
    status = pod.get("status", {})
    return (
        CONTAINER_ENDS.get(str(terminated_of(pod).get("reason")))
        or POD_ENDS.get(str(status.get("reason")))
        or DISRUPTIONS.get(str(condition(pod, "DisruptionTarget").get("reason")))
    )


def explain_end(pod: Pod, *, was_deleted: bool) -> Reason | None:
    """Why it ended, in words; None where its exit code says it all.

    `was_deleted`: the pod is gone, and nobody here asked for that.
    """
    code = end_code(pod)
    if code == "out-of-memory":
        limit = _memory_limit(pod)
        return Reason(code, f"It used more memory than its {limit} and was ended. Choose a larger size.")
    if code is None:
        return Reason("deleted", SENTENCES["deleted"]) if was_deleted else None
    message = _message(pod) if code in _TELLING else ""
    return Reason(code, f"{SENTENCES[code]} {message}".strip())


def _message(pod: Pod) -> str:
    text = str(terminated_of(pod).get("message") or pod.get("status", {}).get("message") or "")
    return f"Kubernetes says: {_one_line(text)}" if text else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _memory_limit(pod: Pod) -> str:
    for container in pod.get("spec", {}).get("containers") or ():
        limit = container.get("resources", {}).get("limits", {}).get("memory")
        if limit is not None:
            return render_memory(int(limit)) if str(limit).isdecimal() else str(limit)
    return "limit"


def parse_time(text: object) -> datetime | None:
    """A time as Kubernetes writes it."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
