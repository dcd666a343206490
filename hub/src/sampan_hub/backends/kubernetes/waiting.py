"""Why a pod waits, in plain words: by its conditions, its container's state and Kubernetes' notes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sampan_hub.backends.kubernetes.states import condition, main_status
from sampan_hub.jobs.model import Reason

Pod = Mapping[str, Any]

IMAGE_TROUBLES = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
CONFIGURATION_TROUBLES = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
BEGINNING = frozenset({"ContainerCreating", "PodInitializing"})

SHORTAGES = (
    (re.compile(r"(\d+) Insufficient cpu"), "{} without enough free cores"),
    (re.compile(r"(\d+) Insufficient memory"), "{} without enough free memory"),
    (re.compile(r"(\d+) Insufficient ephemeral-storage"), "{} without enough free disk"),
    (re.compile(r"(\d+) Insufficient [a-z0-9.-]+/[A-Za-z0-9._-]+"), "{} without a free GPU"),
    (re.compile(r"(\d+) Too many pods"), "{} with no room for another pod"),
    (re.compile(r"(\d+) node\(s\) were unschedulable"), "{} closed for maintenance"),
    (re.compile(r"(\d+) node\(s\) had untolerated taint"), "{} kept for something else"),
    (re.compile(r"(\d+) node\(s\) didn't match Pod's node affinity/selector"), "{} of another sort"),
    (re.compile(r"(\d+) node\(s\) didn't match pod affinity rules"), "{} without your home"),
    (re.compile(r"(\d+) node\(s\) had volume node affinity conflict"), "{} without your home"),
    (re.compile(r"(\d+) node\(s\) didn't find available persistent volumes"), "{} without a volume for your home"),
)
"""What the scheduler says of nodes."""
UNBOUND = "unbound immediate PersistentVolumeClaims"
_MISSING = re.compile(r'persistentvolumeclaim "([a-z0-9.-]+)" not found')
_NODES = re.compile(r"(\d+)/(\d+) nodes are available")

EVENTS = {
    "FailedMount": ("volume", "A volume cannot be mounted yet: {}"),
    "FailedAttachVolume": ("volume", "A volume cannot be attached to the node yet: {}"),
    "ProvisioningFailed": ("volume", "A volume cannot be made: {}"),
    "FailedCreatePodSandBox": ("node", "The node cannot prepare the pod yet: {}"),
    "FailedCreatePodContainer": ("node", "The node cannot prepare the pod yet: {}"),
    "NetworkNotReady": ("node", "The node's network is not ready yet: {}"),
    "TriggeredScaleUp": ("scaling-up", "A node is being added for it."),
    "NotTriggerScaleUp": ("no-room", "There is no room, and no node can be added: {}"),
    "Pulling": ("fetching-image", "The node is fetching the image, which takes a while the first time."),
}
"""What Kubernetes notes of a pod that waits, by its reason; the newest counts."""


def explain_waiting(pod: Pod, events: Iterable[Mapping[str, Any]] = ()) -> Reason:
    """Why it does not run yet. `events`: those of this pod, in any order."""
    state = main_status(pod).get("state", {}).get("waiting") or {}
    word, message = str(state.get("reason") or ""), _one_line(state.get("message"))
    if word in IMAGE_TROUBLES:
        return Reason("image", f"The image {_image(pod)} cannot be fetched: {message or word}")
    if word in CONFIGURATION_TROUBLES:
        return Reason("configuration", f"Kubernetes cannot make the container: {message or word}")
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return _explain_scheduling(scheduled, events)
    noted = _newest(events)
    if noted is not None:
        return noted
    if scheduled.get("status") == "True":
        return Reason("preparing", "Its node is preparing it.")
    return Reason("scheduling", "Kubernetes is choosing a node.")


def needs_events(pod: Pod) -> bool:
    """Whether only Kubernetes' notes can say why it waits."""
    state = main_status(pod).get("state", {}).get("waiting") or {}
    return str(state.get("reason") or "ContainerCreating") in BEGINNING


def _explain_scheduling(scheduled: Mapping[str, Any], events: Iterable[Mapping[str, Any]]) -> Reason:
    noted = _newest(event for event in events if event.get("reason") in ("TriggeredScaleUp", "NotTriggerScaleUp"))
    if noted is not None and noted.code == "scaling-up":
        return noted
    message = _one_line(scheduled.get("message"))
    if scheduled.get("reason") == "SchedulingGated":
        return Reason("held", "It is held back until something in the cluster lets it go.")
    if UNBOUND in message:
        return Reason("volume", "A volume for its files is being made.")
    missing = _MISSING.search(message)
    if missing is not None:
        return Reason("volume", f"The volume {missing[1]} is not there: it was deleted since. Start it again.")
    nodes = _NODES.search(message)
    if nodes is None:
        return Reason("no-node", f"No node can take it: {message}")
    told = [words.format(found[1]) for pattern, words in SHORTAGES if (found := pattern.search(message))]
    among = f"No node has room for it now ({', '.join(told)}; {nodes[2]} in all)."
    return Reason("no-room", among if told else f"No node can take it: {message}")


def _newest(events: Iterable[Mapping[str, Any]]) -> Reason | None:
    known = [event for event in events if event.get("reason") in EVENTS]
    if not known:
        return None
    newest = max(known, key=lambda event: str(_when(event)))
    code, words = EVENTS[newest["reason"]]
    return Reason(code, words.format(_one_line(newest.get("message"))))


def _when(event: Mapping[str, Any]) -> Any:
    return event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or ""


def _image(pod: Pod) -> str:
    containers = pod.get("spec", {}).get("containers") or [{}]
    return str(containers[0].get("image", ""))


def _one_line(text: object) -> str:
    return " ".join(str(text or "").split())[:300]
