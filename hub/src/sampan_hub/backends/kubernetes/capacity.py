"""What the nodes have, and what fits on one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sampan_hub.jobs.model import Reason, Resources
from sampan_hub.settings.kubernetes import KubernetesBackend, KubernetesPlacement, Toleration
from sampan_hub.settings.units import render_memory

_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_FACTORS = {"": Decimal(1), "m": Decimal("0.001")} | {
    letter + ending: Decimal(base) ** power
    for power, letter in enumerate("kMGTPE", start=1)
    for ending, base in (("", 1000),)
}
_FACTORS |= {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_REPELLING = ("NoSchedule", "NoExecute")
NONE = Resources(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Node:
    """What one node offers to pods."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Mapping[str, str], ...]
    is_open: bool
    """Ready, and not closed for maintenance."""
    amounts: Mapping[str, Decimal]

    def resources(self, gpu_resource: str) -> Resources:
        amounts = self.amounts
        cores, memory = amounts.get("cpu", Decimal(0)), amounts.get("memory", Decimal(0))
        return Resources(int(cores * 1000), int(memory), int(amounts.get(gpu_resource, 0)))


def parse_amount(text: str) -> Decimal:
    """`500m`, `2`, `128Mi` as Kubernetes writes amounts; ValueError for anything else."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no amount")
    return Decimal(match[1]) * _FACTORS[match[2] or ""]


def parse_node(node: Mapping[str, Any]) -> Node:
    """A node as listed."""
    status, spec = node.get("status", {}), node.get("spec", {})
    ready = [each.get("status") for each in status.get("conditions") or () if each.get("type") == "Ready"]
    return Node(
        name=str(node["metadata"]["name"]),
        labels=dict(node["metadata"].get("labels") or {}),
        taints=tuple(taint for taint in spec.get("taints") or () if taint.get("effect") in _REPELLING),
        is_open=ready == ["True"] and not spec.get("unschedulable"),
        amounts={name: parse_amount(str(amount)) for name, amount in (status.get("allocatable") or {}).items()},
    )


def takes(node: Node, placement: KubernetesPlacement) -> bool:
    """Whether pods of this placement may be on the node, open or not at the moment."""
    if any(node.labels.get(key) != value for key, value in placement.node_selector.items()):
        return False
    lasting = [taint for taint in node.taints if not taint.get("key", "").startswith("node.kubernetes.io/")]
    return all(any(_tolerates(toleration, taint) for toleration in placement.tolerations) for taint in lasting)


def _tolerates(toleration: Toleration, taint: Mapping[str, str]) -> bool:
    if toleration.effect is not None and toleration.effect != taint.get("effect"):
        return False
    if toleration.key is None:
        return toleration.operator == "Exists"
    if toleration.key != taint.get("key"):
        return False
    return toleration.operator == "Exists" or toleration.value == taint.get("value", "")


def total_of(nodes: Iterable[Node], settings: KubernetesBackend) -> Resources:
    """What the open nodes have on which jobs of some size may be."""
    placements = [settings.placement_of(size) for size in ("", *settings.sizes)]
    total = NONE
    for node in nodes:
        fitting = next((placement for placement in placements if takes(node, placement)), None)
        if node.is_open and fitting is not None:
            total = total + node.resources(fitting.gpu_resource or "")
    return total


def less(total: Resources, held: Resources) -> Resources:
    """What is left, and never less than nothing."""
    return Resources(
        max(0, total.cores_milli - held.cores_milli),
        max(0, total.memory_bytes - held.memory_bytes),
        max(0, total.gpus - held.gpus),
    )


def misfit(asked: Resources, size: str, placement: KubernetesPlacement, nodes: Sequence[Node]) -> Reason | None:
    """Why no node can ever hold this; None where one can, or where no node of the sort is there (one may be made)."""
    gpu = placement.gpu_resource or ""
    there = [node.resources(gpu) for node in nodes if takes(node, placement)]
    if not there or any(_fits(asked, each) for each in there):
        return None
    largest = max(there, key=lambda each: (min(each.gpus, asked.gpus), each.cores_milli, each.memory_bytes))
    text = f"{size or 'It'} needs {_words(asked)}; the largest node has {_words(largest)}. Choose a smaller size."
    return Reason("does-not-fit", text)


def _fits(asked: Resources, there: Resources) -> bool:
    return (
        asked.cores_milli <= there.cores_milli and asked.memory_bytes <= there.memory_bytes and asked.gpus <= there.gpus
    )


def _words(resources: Resources) -> str:
    memory = resources.memory_bytes
    shown = render_memory(memory) if memory % (1 << 20) == 0 else f"{memory / (1 << 30):.1f}G"
    text = f"{resources.cores_milli / 1000:g} cores and {shown}"
    return f"{text} and {resources.gpus} GPUs" if resources.gpus else text
