"""Small pods for tests, as restricted as ours are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.installation import wait_until
from tests.testbeds.kube.cluster import KubeCluster

BUSYBOX = "kt.local/busybox:1"


def make_pod(name: str, image: str, argv: Sequence[str], *, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    """It passes the "restricted" standard, cannot write to its root, has no token, and runs on the real node."""
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": list(argv),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": {"kube-testbed": "real"},
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def as_user(pod: dict[str, Any], uid: int) -> dict[str, Any]:
    """For images that would run as root."""
    pod["spec"]["securityContext"]["runAsUser"] = uid
    return pod


def run_to_end(kube: KubeCluster, namespace: str, pod: dict[str, Any], timeout_s: float = 120) -> str:
    """What it wrote; raises AssertionError with that when it failed."""
    name = pod["metadata"]["name"]
    kube.apply(pod, namespace=namespace)

    def phase() -> str | None:
        now = kube.get("pod", name, namespace=namespace)["status"].get("phase")
        return now if now in ("Succeeded", "Failed") else None

    ended = wait_until(phase, timeout_s, f"the end of pod {name}")
    said = kube.kubectl("logs", name, f"--namespace={namespace}")
    assert ended == "Succeeded", said
    return said
