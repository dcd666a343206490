"""What a namespace holds of an installation, as kubectl shows it: no API of ours is believed about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

INSTANCE, JOB, HOME = "sampan.io/instance", "sampan.io/job", "sampan.io/home"
SEEN = "pods,persistentvolumeclaims,secrets,networkpolicies.networking.k8s.io"
"""Every sort of thing that could be left over."""
OVER = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod with our labels, whoever put them there."""

    name: str
    uid: str
    job_id: str
    phase: str
    node: str | None
    is_going: bool

    @property
    def is_alive(self) -> bool:
        """Its process runs, or may yet begin."""
        return self.phase not in OVER

    @property
    def works(self) -> bool:
        return self.phase == "Running"


def pods_of(items: Iterable[Mapping[str, Any]], instance: str) -> list[Pod]:
    """The pods among these objects that carry this installation's id."""
    return [
        Pod(
            name=item["metadata"]["name"],
            uid=item["metadata"]["uid"],
            job_id=item["metadata"]["labels"].get(JOB, ""),
            phase=item["status"].get("phase", "Pending"),
            node=item["spec"].get("nodeName"),
            is_going="deletionTimestamp" in item["metadata"],
        )
        for item in items
        if item["kind"] == "Pod" and item["metadata"].get("labels", {}).get(INSTANCE) == instance
    ]


def leftovers(items: Iterable[Mapping[str, Any]], instance: str) -> set[str]:
    """What is there under this installation's label and is nobody's home, as `Kind/name`."""
    return {
        f"{item['kind']}/{item['metadata']['name']}"
        for item in items
        if item["metadata"].get("labels", {}).get(INSTANCE) == instance and not _is_home(item)
    }


def _is_home(item: Mapping[str, Any]) -> bool:
    return item["kind"] == "PersistentVolumeClaim" and HOME in item["metadata"].get("labels", {})
