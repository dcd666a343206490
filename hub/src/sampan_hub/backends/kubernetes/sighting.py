"""From pods to what is said of our jobs: whose each is, whether it is signed, how it is. Pure but for its memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sampan_hub.backends.base import Identity, Observed, Phase
from sampan_hub.backends.kubernetes import states, waiting
from sampan_hub.backends.kubernetes.identity import is_of, parse_identity
from sampan_hub.backends.kubernetes.names import IDENTITY, parse_pod_name
from sampan_hub.jobs.keys import instance_of
from sampan_hub.jobs.model import RunIdentity

Pod = Mapping[str, Any]

_REMEMBERED = 20_000

NOBODY = "(unknown)"
"""Whose a pod is that carries no readable identity: nobody's who has jobs here."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One pod with our label and the name of a job of ours."""

    pod: Pod
    job_id: str
    identity: Identity | None
    """As carried, true or not."""
    is_ours: bool
    """Whether we made it: only then anything is done to it, or concluded from its end."""
    phase: Phase

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def owner(self) -> str:
        return self.identity.owner if self.identity is not None else NOBODY

    @property
    def is_living(self) -> bool:
        return self.phase is not Phase.ENDED

    @property
    def is_out_of_sight(self) -> bool:
        return self.phase is Phase.UNKNOWN and states.is_out_of_sight(self.pod)

    @property
    def address(self) -> str:
        return str(self.pod.get("status", {}).get("podIP") or "")


class Reader:
    """Recognises our pods. What was read of a pod is remembered until the pod changes, for looks are many."""

    def __init__(self, instance: str, key: bytes) -> None:
        self._instance = instance
        self._key = key
        self._known: dict[str, Sighting] = {}
        """By uid."""

    def read(self, pods: Iterable[Pod]) -> tuple[list[Sighting], list[str]]:
        """Our jobs, and in words what has our label and cannot be read as one of them."""
        sightings, strange = [], []
        for pod in pods:
            known = self._known.get(pod["metadata"]["uid"])
            sighting = known if known is not None and known.pod is pod else self._recognise(pod, known)
            if sighting is not None:
                sightings.append(sighting)
            else:
                name = pod["metadata"]["name"]
                strange.append(f"The pod {name} has this installation's label and no name of a job of its.")
        return sightings, strange

    def _recognise(self, pod: Pod, before: Sighting | None) -> Sighting | None:
        metadata = pod["metadata"]
        parsed = parse_pod_name(metadata["name"])
        if parsed is None or instance_of(parsed[1]) != self._instance:
            return None
        identity, is_ours = self._whose(pod, before)
        made = Sighting(pod, parsed[1], identity, is_ours, states.phase_of(pod))
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[made.uid] = made
        return made

    def _whose(self, pod: Pod, before: Sighting | None) -> tuple[Identity | None, bool]:
        """Signatures are checked once for each annotation: whoever may change a pod may change that."""
        text = _annotation(pod)
        if before is not None and _annotation(before.pod) == text:
            return before.identity, before.is_ours
        identity = parse_identity(text)
        return identity, identity is not None and is_of(identity, pod["metadata"]["name"], self._key)


def _annotation(pod: Pod) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(IDENTITY, ""))


def observe(sighting: Sighting, events: Iterable[Mapping[str, Any]] = ()) -> Observed:
    """What the pod says of its job while it lives. `events`: Kubernetes' notes of it."""
    pod = sighting.pod
    seen = Observed(sighting.job_id, sighting.phase, sighting.owner, sighting.identity)
    match sighting.phase:
        case Phase.QUEUED:
            return replace(seen, reason=waiting.explain_waiting(pod, events))
        case Phase.RUNNING:
            return replace(seen, run=RunIdentity(sighting.uid), started_at=states.started_at(pod))
    return seen


def describe_silence(sightings: Iterable[Sighting]) -> list[str]:
    """In words: nodes that say nothing any more of pods that were running there."""
    nodes = Counter(str(each.pod.get("spec", {}).get("nodeName")) for each in sightings if each.is_out_of_sight)
    return [
        f"The node {node} does not answer: how its jobs are ({count}) is unknown. Bring it back, or delete it in "
        "Kubernetes once it is certain that nothing runs there."
        for node, count in sorted(nodes.items())
    ]


def observe_end(sighting: Sighting, now: datetime, *, was_deleted: bool) -> Observed:
    """How it ended. `was_deleted`: the pod is gone, and nobody here asked for that."""
    pod = sighting.pod
    started_at = states.started_at(pod)
    return Observed(
        job_id=sighting.job_id,
        phase=Phase.ENDED,
        owner=sighting.owner,
        run=RunIdentity(sighting.uid),
        reason=states.explain_end(pod, was_deleted=was_deleted),
        started_at=started_at,
        ended_at=states.ended_at(pod) or now,
        exit=states.exit_of(pod),
    )
