"""The chart, installed for real into a namespace of its own, and met at its entry as people meet it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.kube.chart import CHART, merged
from tests.support.entry import Entry
from tests.support.installation import wait_until
from tests.testbeds.kube.cluster import KubeCluster, KubeError

NAME = "sampan"
FIRST_NODE_PORT, NODE_PORTS = 30000, 2768
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}
STARTED_S = 180
_LITTLE = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
SMALL: dict[str, Any] = {
    "proxy": {"service": {"type": "NodePort"}, "resources": _LITTLE},
    "hub": {"resources": _LITTLE, "state": {"storage": "1Gi"}},
    "service": {"resources": _LITTLE},
    "keys": {"resources": _LITTLE},
    "postgresql": {"resources": _LITTLE, "storage": {"storage": "1Gi"}},
    "config": {
        "admins": ["carol"],
        "backends": {"kubernetes": {"scheduler": {"cores": 0.1, "memory": "400M"}}},
        "sizes": {
            "small": {"cores": 0.2, "memory": "700M"},
            "medium": None,
            "large": None,
            "tiny": {"cores": 0.1, "memory": "400M"},
        },
    },
}
"""What makes it fit on a node of two cores that others use, too."""


class Release(Entry):
    """One `helm install` in a namespace. Commands raise KubeError with what was said."""

    def __init__(self, kube: KubeCluster, namespace: str, registry: str, *changes: dict[str, Any]) -> None:
        super().__init__()
        self.kube = kube
        self.namespace = namespace
        self.node_port = FIRST_NODE_PORT + int.from_bytes(namespace.encode(), "big") % NODE_PORTS
        self.url = f"https://{kube.NODE_IP}:{self.node_port}"
        own: dict[str, Any] = {
            "image": {"registry": registry},
            "config": {"url": f"{self.url}/"},
            "proxy": {"service": {"nodePorts": {"https": self.node_port}}},
        }
        self.values = merged(SMALL, own)
        for each in changes:
            self.values = merged(self.values, each)

    # ---- Helm

    def helm(self, *words: str, values: dict[str, Any] | None = None, timeout_s: float = 300) -> str:
        """What Helm wrote."""
        argv = ["helm", "--namespace", self.namespace, *words, *(["--values", "-"] if values is not None else [])]
        content = None if values is None else json.dumps(values)
        return self.kube.run(argv, input=content, timeout_s=timeout_s).stdout

    def install(self, chart: Path = CHART) -> str:
        """As the page says; what Helm said, once all pods of the release are ready."""
        said = self.helm("install", NAME, str(chart), "--timeout=5m", values=self.values)
        self.wait_until_ready()
        return said

    def upgrade(self, *changes: dict[str, Any], chart: Path = CHART) -> str:
        for each in changes:
            self.values = merged(self.values, each)
        said = self.helm("upgrade", NAME, str(chart), "--timeout=5m", values=self.values)
        self.wait_until_ready()
        return said

    def uninstall(self) -> str:
        return self.helm("uninstall", NAME, "--wait", "--timeout=3m")

    def wait_until_ready(self) -> None:
        """The pods of today's templates are ready, and hub and service answer through the proxy."""
        try:
            for name in ("proxy", "hub"):
                self.kubectl(
                    "rollout", "status", f"deployment/{name}", f"--timeout={STARTED_S}s", timeout_s=STARTED_S + 5
                )
            wait_until(self._is_serving, 60, "hub and service through the proxy")
        except (KubeError, TimeoutError) as error:
            raise AssertionError(f"{error}\n{self.describe()}") from error

    def _is_serving(self) -> bool:
        try:
            return all(self.ask("GET", path)[0] == 200 for path in ("/hub/health", "/services/sampan/readyz"))
        except OSError:
            return False

    # ---- what is in the namespace

    def kubectl(self, *words: str, check: bool = True, timeout_s: float = 120) -> str:
        return self.kube.kubectl("--namespace", self.namespace, *words, check=check, timeout_s=timeout_s)

    def get(self, *words: str) -> Any:
        return self.kube.get(*words, namespace=self.namespace)

    def sampan(self, *words: str, container: str = "hub") -> str:
        """What a `sampan` command in the hub's pod prints."""
        return self.kubectl("exec", "deployment/hub", "-c", container, "--", "sampan", *words)

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        """The pods of jobs, by their labels of `sampan.io/`."""
        chosen = ",".join(f"sampan.io/{name}={value}" for name, value in {"managed": "true", **labels}.items())
        return list(self.get("pods", f"--selector={chosen}")["items"])

    def component(self, name: str) -> dict[str, Any]:
        """The one pod of a component of the chart."""
        (pod,) = self.get("pods", f"--selector=app.kubernetes.io/component={name}")["items"]
        return dict(pod)

    def describe(self) -> str:
        """What there is to know when something went wrong."""
        parts = [self.kubectl("get", "pods,jobs,pvc,events", "--output=wide", check=False)]
        for pod in self.get("pods")["items"]:
            name = pod["metadata"]["name"]
            said = self.kubectl("logs", name, "--all-containers", "--prefix", "--tail=25", check=False)
            parts.append(f"---- {name}\n{said}")
        return "\n".join(parts)[-20000:]

    # ---- what one needs to know it by

    @property
    def authority(self) -> str:
        return self.key("ca.crt").decode()

    def key(self, name: str) -> bytes:
        return self._keys[name].strip()

    @cached_property
    def _keys(self) -> dict[str, bytes]:
        """Made once and never changed, so one look is enough."""
        data = self.get("secret", "sampan-keys")["data"]
        return {name: base64.b64decode(content) for name, content in data.items()}


@contextmanager
def installed(kube: KubeCluster, registry: str, prefix: str, *changes: dict[str, Any]) -> Iterator[Release]:
    """A release in a new namespace that takes only restricted pods; both are gone afterwards."""
    with kube.namespace(prefix, labels=RESTRICTED) as namespace:
        release = Release(kube, namespace, registry, *changes)
        try:
            release.install()
            yield release
        finally:
            release.close()
            release.helm("uninstall", NAME, "--ignore-not-found", "--wait", "--timeout=2m")
