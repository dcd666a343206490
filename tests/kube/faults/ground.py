"""What light installations stand on: a namespace with the chart's own rights and policies, an image with the jobs'
program, an entry that pods reach, a way to the API server."""

from __future__ import annotations

import base64
import json
import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sampan_hub.settings.access import find_access
from sampan_hub.trust.authority import Usage
from sampan_hub.trust.files import ensure_authority, ensure_certificate, pair_in
from tests.kube.faults.api_server import ApiServer
from tests.kube.faults.entry import PodsEntry
from tests.kube.faults.loop import Loop
from tests.testbeds.kube.cluster import KubeCluster

HERE = Path(__file__).parent
CLONE = HERE.parents[2]
IMAGE = "kt.local/sampan/faults:1"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
CHART_PARTS = (
    "hub/serviceaccount",
    "hub/role",
    "hub/rolebinding",
    "hub/clusterrole",
    "hub/clusterrolebinding",
    "jobs/serviceaccount",
    "jobs/networkpolicy",
)
"""What of the chart the backend works with."""
PYTHON_FILES = shutil.ignore_patterns("__pycache__", "lab*")


class Ground:
    """`folder`: of the test. `namespace`: where all pods are."""

    def __init__(self, kube: KubeCluster, folder: Path, namespace: str) -> None:
        self.kube, self.folder, self.namespace = kube, folder, namespace
        self.entry = PodsEntry()
        self._loop = Loop()
        self._make_certificates()
        access = find_access(kube.kubeconfig, {})
        self._cluster_ca = (access.ca or b"").decode()
        self._server = access.server
        self.api = ApiServer(self._server, ssl.create_default_context(cadata=self._cluster_ca))
        self._loop.run(self.entry.open(kube.HOST_IP, self._context("entry")))
        self._loop.run(self.api.listen(self._context("api")))
        self._token = ""

    def _make_certificates(self) -> None:
        now, life = datetime.now(UTC), timedelta(days=2)
        authority = ensure_authority(pair_in(self.folder, "ca"), "Faults", Usage.SERVER, now)
        for stem, name in (("entry", self.kube.HOST_IP), ("api", "127.0.0.1")):
            pair = pair_in(self.folder, stem)
            ensure_certificate(pair, authority, "Faults", {name}, lifetime=life, renew_before=life / 2, now=now)

    def _context(self, stem: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / f"{stem}.crt", self.folder / f"{stem}.key")
        return context

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.folder / "ca.crt"))

    # In the cluster.

    def prepare(self) -> None:
        self._load_image()
        self.kube.kubectl("apply", "--namespace", self.namespace, "--filename=-", input=self._render_chart())
        self.kube.apply(self._let_the_host_in(), namespace=self.namespace)
        words = ("create", "token", "hub", "--namespace", self.namespace, "--duration=24h")
        self._token = self.kube.kubectl(*words).strip()

    def _load_image(self) -> None:
        context = self.folder / "image"
        shutil.copytree(CLONE / "client/src/sampan", context / "lib/sampan", ignore=PYTHON_FILES)
        shutil.copy(CLONE / "tests/chaos/job_program.py", context / "lib")
        shutil.copy(HERE / "program.py", context)
        lines = (f"FROM {self.kube.BASE_IMAGE}", "COPY . /opt/faults", "USER 1000")
        (context / "Containerfile").write_text("\n".join(lines) + "\n")
        self.kube.script("base-image.sh", self.kube.BASE_IMAGE, timeout_s=900)
        words = ["buildah", "build", "--quiet", "--layers", "--timestamp", "0", "--tag", "sampan/faults:1"]
        self.kube.run([*words, str(context)], timeout_s=300)
        self.kube.load_image("sampan/faults:1", IMAGE)

    def _render_chart(self) -> str:
        shown = [word for part in CHART_PARTS for word in ("--show-only", f"templates/{part}.yaml")]
        values = ["--set", "image.registry=kt.local,config.url=https://faults.test/"]
        chart = str(CLONE / "helm/sampan")
        return self.kube.run(
            ["helm", "template", "faults", chart, "--namespace", self.namespace, *shown, *values]
        ).stdout

    def _let_the_host_in(self) -> dict[str, Any]:
        """As the chart lets proxy and hub in: here they are on the host."""
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "faults-host"},
            "spec": {
                "podSelector": {"matchLabels": {"sampan.io/managed": "true"}},
                "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"ipBlock": {"cidr": f"{self.kube.HOST_IP}/32"}}]}],
            },
        }

    def write_kubeconfig(self, file: Path, *, direct: bool) -> None:
        """As whom a service speaks to the API server, itself or by way of `api`."""
        ca = self._cluster_ca if direct else (self.folder / "ca.crt").read_text()
        server = self._server if direct else self.api.url
        tree = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "faults",
            "contexts": [
                {"name": "faults", "context": {"cluster": "faults", "user": "hub", "namespace": self.namespace}}
            ],
            "clusters": [
                {
                    "name": "faults",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": base64.b64encode(ca.encode()).decode(),
                    },
                }
            ],
            "users": [{"name": "hub", "user": {"token": self._token}}],
        }
        file.touch(mode=0o600)
        file.write_text(json.dumps(tree))

    def drop_watches(self) -> int:
        return self._loop.run(self.api.drop_watches())

    def hang_up_on_everybody(self) -> None:
        """Whoever waits for the API server by way of `api`."""
        self._loop.run(self.api.hang_up())

    def remove(self) -> None:
        self._loop.run(self.api.close())
        self._loop.run(self.entry.close())
        self._loop.close()
        self.kube.kubectl(
            "delete",
            "clusterrole,clusterrolebinding",
            f"{self.namespace}-sampan-nodes",
            "--ignore-not-found",
        )


@contextmanager
def prepared_ground(kube: KubeCluster, folder: Path) -> Iterator[Ground]:
    with kube.namespace("faults", RESTRICTED) as namespace:
        ground = Ground(kube, folder, namespace)
        try:
            ground.prepare()
            yield ground
        finally:
            ground.remove()
