"""The Kubernetes backend over the real cluster, as the contract suite takes a backend.

It acts with no more rights than the chart gives to the service, in a namespace that enforces the "restricted"
standard. Jobs ask a small server of the test how they are to end.
"""

from __future__ import annotations

import base64
import http.server
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from sampan_hub.backends.base import JobSpec
from sampan_hub.backends.kubernetes import KubernetesBackend
from sampan_hub.backends.kubernetes.capacity import parse_node, total_of
from sampan_hub.backends.kubernetes.client import KubeClient
from sampan_hub.backends.kubernetes.names import pod_name
from sampan_hub.jobs.keys import make_instance_id, make_job_id, sign
from sampan_hub.jobs.model import Kind, Resources
from sampan_hub.settings.access import Access
from sampan_hub.settings.kubernetes import KubernetesBackend as Settings
from tests.contract.local_jobs import SIGNING_KEY, make_spec
from tests.kube.relay import Relay
from tests.testbeds.kube.cluster import KubeCluster

BUSYBOX = "kt.local/busybox:1"
TINY = Resources(cores_milli=20, memory_bytes=32 << 20)
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
SIMULATED = "simulated"
"""A size whose pods go to simulated nodes."""
WAIT_TO_END = (
    "echo up; until code=$(timeout 3 wget -q -O- {url}/$SAMPAN_JOB 2>/dev/null); do sleep 0.1; done; exit $code"
)
RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch", "create", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get", "create"]},
    {
        "apiGroups": ["networking.k8s.io"],
        "resources": ["networkpolicies"],
        "verbs": ["list", "create", "update", "delete"],
    },
]


def make_account(namespace: str) -> list[dict[str, Any]]:
    """The service's own account with its rights, and the jobs' without any."""
    about = {"name": "sampan", "namespace": namespace}
    subject = {"kind": "ServiceAccount", **about}
    group = "rbac.authorization.k8s.io"
    nodes = f"sampan-nodes-{namespace}"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**about, "name": "sampan-jobs"}},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": about, "rules": RULES},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": about,
            "subjects": [subject],
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "sampan"},
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": nodes},
            "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": nodes},
            "subjects": [subject],
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": nodes},
        },
    ]


class Exits:
    """A server on this computer that tells jobs how to end, once a test has said so."""

    def __init__(self, host: str) -> None:
        codes: dict[str, int] = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code = codes.get(self.path.strip("/"))
                body = b"" if code is None else str(code).encode()
                self.send_response(404 if code is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return

        self.codes = codes
        self._server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.url = f"http://{host}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Ground:
    """A namespace with the accounts in it, which several backends may share one after the other."""

    def __init__(self, kube: KubeCluster, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace
        kube.apply(*make_account(namespace))
        self.token = kube.kubectl("create", "token", "sampan", f"--namespace={namespace}", "--duration=2h").strip()
        cluster = YAML(typ="safe").load(kube.kubeconfig)["clusters"][0]["cluster"]
        self.ca = base64.b64decode(cluster["certificate-authority-data"])
        host, _, port = cluster["server"].removeprefix("https://").partition(":")
        self.server = (host, int(port))

    def close(self) -> None:
        name = f"sampan-nodes-{self.namespace}"
        self.kube.kubectl("delete", "clusterrole,clusterrolebinding", name, "--ignore-not-found")


class KubeRig:
    """One backend of a random instance."""

    patience_s = 90.0

    def __init__(self, ground: Ground, folder: Path, **settings: Any) -> None:
        self.ground = ground
        self.kube = ground.kube
        self.namespace = ground.namespace
        self.instance = make_instance_id()
        self.folder = folder
        self.exits = Exits(self.kube.HOST_IP)
        self.relay = Relay(*ground.server)
        self.access = Access(f"https://127.0.0.1:{self.relay.port}", self.namespace, ground.ca, token=ground.token)
        simulated = {
            "node_selector": {"type": "kwok"},
            "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        }
        self.settings = Settings.model_validate(
            {
                "kind": "kubernetes",
                "image": BUSYBOX,
                "allow": [f"{self.kube.HOST_IP}/32"],
                "storage": {"home": {"class": "shared-path", "size": "16M", "access": "ReadWriteMany"}},
                "sizes": {SIMULATED: simulated},
                **settings,
            }
        )
        self.total = total_of(map(parse_node, self.kube.get("nodes")["items"]), self.settings)
        self.backend: KubernetesBackend = self._make()

    def _make(self, **options: Any) -> KubernetesBackend:
        return KubernetesBackend(
            "kubernetes",
            self.settings,
            self.instance,
            KubeClient(self.access),
            signing_key=SIGNING_KEY,
            journal=self.folder / "journal.sqlite",
            images={},
            **{"prove": _prove_nothing, "fresh_s": 0.0, **options},
        )

    async def reopen(self, **options: Any) -> KubernetesBackend:
        """The backend as a restarted service makes it."""
        await self.backend.aclose()
        self.backend = self._make(**options)
        return self.backend

    def spec(self, resources: Resources = TINY, size: str | None = None, **options: Any) -> JobSpec:
        """A job that runs until it is stopped or `let_end`; a large one on a simulated node."""
        script = WAIT_TO_END.format(url=self.exits.url)
        made = make_spec(self.instance, ("sh", "-c", script), resources=resources, uid=1000, **options)
        usual = "small" if resources.cores_milli <= 1000 else SIMULATED
        identity = sign(SIGNING_KEY, replace(made.identity, size=size or usual))
        variables = {"SAMPAN_JOB": identity.job_id, **made.env}
        return replace(made, identity=identity, env=variables, private_files={})

    def batch(self, count: int, resources: Resources = TINY, **options: Any) -> list[JobSpec]:
        """That many jobs, asked for together."""
        first = self.spec(resources, **options)
        specs = [first]
        for index in range(1, count):
            job_id = make_job_id(self.instance, first.identity.batch, index)
            identity = sign(SIGNING_KEY, replace(first.identity, job_id=job_id, index=index, name=f"w-{index}"))
            specs.append(replace(first, identity=identity, env={**first.env, "SAMPAN_JOB": job_id}))
        return specs

    def pod(self, job_id: str, kind: Kind = Kind.WORKER) -> Any:
        """The job's pod as the cluster has it."""
        return self.kube.get("pod", pod_name(kind, job_id), namespace=self.namespace)

    def pods(self) -> list[Any]:
        """Every pod of this instance."""
        selector = f"--selector=sampan.io/instance={self.instance}"
        return list(self.kube.get("pods", selector, namespace=self.namespace)["items"])

    def let_end(self, job_id: str, code: int) -> None:
        self.exits.codes[job_id] = code

    def set_reachable(self, reachable: bool) -> None:
        if reachable:
            self.relay.listen()
        else:
            self.relay.close()

    async def close(self) -> None:
        selector = f"--selector=sampan.io/instance={self.instance}"
        words = ("--now", "--wait=false", f"--namespace={self.namespace}")
        self.kube.kubectl("delete", "pods,networkpolicies", selector, *words)
        await self.backend.aclose()
        self.relay.close()
        self.exits.close()


async def _prove_nothing(_host: str, _port: int, _job_id: str) -> bool:
    return False
