"""Sizes that no partition can hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from sampan_hub.backends.slurm.placement import Placement, make_placement
from sampan_hub.cli.checks.slurm_facts import Facts
from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.jobs.model import Resources
from sampan_hub.settings.model import Size
from sampan_hub.settings.slurm import SlurmBackend

_PLAIN_FEATURE = re.compile(r"[A-Za-z0-9_.+-]+")


def judge_sizes(backend: SlurmBackend, sizes: Mapping[str, Size], facts: Facts) -> Iterator[Trouble]:
    """Each size, in the place it has without a project and in the place each project gives it."""
    if not facts.partitions or not facts.nodes:
        return
    said = set()
    for project in ("", *backend.projects):
        for name, size in sizes.items():
            placement = make_placement(backend, name, project, Resources(size.cores_milli, size.memory, size.gpus))
            why = _why_not(placement, facts)
            if why is not None and (name, why) not in said:
                said.add((name, why))
                where = f" in project {project}" if project else ""
                yield Trouble(f"size {name}{where} can never run: {why}", _remedy(name))


def _remedy(name: str) -> str:
    return f"change `sizes.{name}`, or its place in the backend's `sizes`"


def _why_not(placement: Placement, facts: Facts) -> str | None:
    """Why none of its partitions takes such a job; None when one does. Waiting for what is busy is no reason."""
    known = {record["PartitionName"]: record for record in facts.partitions}
    if placement.partition is None:
        defaults = [name for name, record in known.items() if record.get("Default") == "YES"]
        if not defaults:
            return "the cluster has no default partition, and none is set"
        names = defaults
    else:
        names = placement.partition.split(",")
    reasons = [_partition_trouble(placement, name, known.get(name), facts) for name in names]
    return None if None in reasons else "; ".join(reason for reason in reasons if reason is not None)


def _partition_trouble(placement: Placement, name: str, record: Mapping[str, str] | None, facts: Facts) -> str | None:
    if record is None:
        return f"there is no partition {name}"
    longest = parse_minutes(record.get("MaxTime", ""))
    if longest is not None and placement.minutes > longest:
        return f"partition {name} ends jobs after {longest} minutes, and its walltime is {placement.minutes}"
    most_cpus = record.get("MaxCPUsPerNode", "")
    if most_cpus.isdecimal() and placement.cpus > int(most_cpus):
        return f"partition {name} gives at most {most_cpus} cores on a node"
    most_memory = record.get("MaxMemPerNode", "")
    if most_memory.isdecimal() and placement.memory_mb > int(most_memory) > 0:
        return f"partition {name} gives at most {most_memory} MB on a node"
    nodes = [node for node in facts.nodes if name in node.get("Partitions", "").split(",")]
    reasons = [_node_trouble(placement, node) for node in nodes]
    if not nodes or None in reasons:
        return None
    return f"no node of partition {name} has {reasons[0] if len(set(reasons)) == 1 else 'all that it asks for'}"


def _node_trouble(placement: Placement, node: Mapping[str, str]) -> str | None:
    """What this node lacks, in words."""
    if placement.cpus > int(node.get("CPUTot", "0") or 0):
        return f"{placement.cpus} cores"
    memory = int(node.get("RealMemory", "0") or 0) - int(node.get("MemSpecLimit", "0") or 0)
    if placement.memory_mb > memory:
        return f"{placement.memory_mb} MB of memory"
    gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:,()]+)?:(\d+)", node.get("Gres", "")))
    if placement.gres is None and placement.gpus > gpus:
        return f"{placement.gpus} GPUs"
    features = node.get("AvailableFeatures", "").split(",")
    constraint = placement.constraint
    if constraint is not None and _PLAIN_FEATURE.fullmatch(constraint) and constraint not in features:
        return f"the feature {constraint}"
    return None


def parse_minutes(text: str) -> int | None:
    """`1-00:00:00`, `01:00:00`; None for UNLIMITED and anything else."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, _ = (int(part) for part in found.groups(default="0"))
    return (days * 24 + hours) * 60 + minutes
