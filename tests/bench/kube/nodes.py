"""Simulated nodes with room for as many pods as a measure asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.testbeds.kube.cluster import KubeCluster

Json = dict[str, Any]

LABEL = {"type": "bench"}
TAINT = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
TOLERATION = {"key": TAINT["key"], "operator": "Exists", "effect": TAINT["effect"]}
PODS_EACH = 220


def make_node(name: str) -> Json:
    """One that kwok plays."""
    room = {"cpu": "32", "memory": "64Gi", "pods": str(PODS_EACH)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**LABEL, "kubernetes.io/hostname": name},
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {"taints": [TAINT]},
        "status": {"allocatable": room, "capacity": room},
    }


@contextmanager
def simulated_nodes(kube: KubeCluster, pods: int) -> Iterator[None]:
    """Enough of them for so many pods; gone afterwards."""
    names = [f"bench-{number}" for number in range(-(-pods // PODS_EACH))]
    kube.apply(*map(make_node, names))
    try:
        kube.kubectl("wait", "--for=condition=Ready", *(f"node/{name}" for name in names), "--timeout=60s")
        yield
    finally:
        kube.kubectl("delete", "nodes", *names, "--ignore-not-found")
