"""What the nodes have and what of it is free, from `sinfo`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sampan_hub.backends.base import BackendError
from sampan_hub.jobs.model import Resources

_FIELDS = (
    "NodeList:.128",
    "CPUsState:.32",
    "Memory:.24",
    "AllocMem:.24",
    "StateLong:.32",
    "Gres:.512",
    "GresUsed:.512",
)
_NOTHING = Resources(0, 0, 0)
_TAKES_JOBS = frozenset({"idle", "mixed", "allocated", "completing", "planned"})
_MARKS = "*~#!%$@^-+"
_GPU = re.compile(r"gpu(?::[^:,()]+)?:(\d+)")


def make_arguments(partitions: Sequence[str]) -> tuple[str, ...]:
    """A line for each node and partition; all that can be seen where none is named."""
    named = (f"--partition={','.join(partitions)}",) if partitions else ()
    return ("--noheader", "--Node", *(named or ("--all",)), f"--Format={','.join(_FIELDS)}")


def parse_capacity(text: str, backend: str) -> tuple[Resources, Resources]:
    """Total and free; a node counts once, however many partitions have it."""
    nodes: dict[str, tuple[Resources, Resources]] = {}
    for line in text.splitlines():
        fields = line.split()
        try:
            name, cpus, memory, allocated, state, gres, used = fields
            nodes[name] = _node(cpus, int(memory), int(allocated), state, gres, used)
        except ValueError as error:
            raise BackendError(f"{backend}: sinfo's answer is not understood: {line.strip()[:200]!r}") from error
    total = sum((has for has, _ in nodes.values()), _NOTHING)
    return total, sum((free for _, free in nodes.values()), _NOTHING)


def _node(cpus: str, memory: int, allocated: int, state: str, gres: str, used: str) -> tuple[Resources, Resources]:
    _, idle, _, total = (int(part) for part in cpus.split("/"))
    gpus = _gpus(gres)
    has = Resources(total * 1000, memory << 20, gpus)
    takes_jobs = state.rstrip(_MARKS) in _TAKES_JOBS and not state.endswith("*")
    free = Resources(idle * 1000, max(0, memory - allocated) << 20, max(0, gpus - _gpus(used)))
    return has, free if takes_jobs else _NOTHING


def _gpus(gres: str) -> int:
    return sum(int(count) for count in _GPU.findall(gres))
