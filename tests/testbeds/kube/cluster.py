"""A real Kubernetes of one node on this computer, for tests; needs root. README.md tells how it is put together.

A test in `tests/kube` asks for the fixture `kube`, a `KubeCluster` that the whole session shares, and for a namespace
of its own:

    def test_something(kube: KubeCluster) -> None:
        with kube.namespace("something") as name:
            kube.apply(pod, namespace=name)
            kube.kubectl("wait", "--for=condition=Ready", "pod/x", "-n", name)
            assert kube.get("pod", "x", namespace=name)["status"]["phase"] == "Running"

    kube.component("kube-apiserver")    .kill() .start() .stop() .pid() .log(); nothing restarts one by itself
    kube.restore()                      starts whatever of it does not run, and waits until the node is ready
    kube.load_image("sampan/hub:1", "kt.local/sampan/hub:1")
    kube.NODE_IP, kube.HOST_IP          where pods find node ports, and this computer

Storage classes are `local-path` (ReadWriteOnce, the default) and `shared-path` (ReadWriteMany). The image
`kt.local/busybox:1` is always there. Simulated nodes carry the label `type: kwok` and the taint `kwok.x-k8s.io/node`.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
Object = Mapping[str, Any]


class KubeError(Exception):
    """A command failed: what it was and what it said."""


class Component:
    """A process of the control plane or of the node; `kill` is kill -9."""

    def __init__(self, cluster: KubeCluster, name: str) -> None:
        self._cluster, self.name = cluster, name

    def start(self) -> None:
        self._do("start")

    def stop(self) -> None:
        self._do("stop")

    def kill(self) -> None:
        self._do("kill")

    def pid(self) -> int | None:
        """None when it does not run."""
        said = self._cluster.script("component.sh", self.name, "pid", check=False)
        return int(said) if said else None

    def log(self) -> str:
        return self._do("log")

    def _do(self, action: str) -> str:
        return self._cluster.script("component.sh", self.name, action)


class KubeCluster:
    """The cluster at the testbed's usual place (or where $KT_BASE says), whoever started it."""

    NODE = "kt-node-0"
    NODE_IP = "10.203.0.2"
    HOST_IP = "10.203.0.1"
    BASE_IMAGE = "kt.local/python:3"

    def __init__(self) -> None:
        self.folder = Path(os.environ.get("KT_BASE") or Path(tempfile.gettempdir(), "kube-testbed"))
        self.kubeconfig = self.folder / "kubeconfig"
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.cache = Path(os.environ.get("KT_CACHE") or caches / "sampan-kube-testbed")

    @property
    def environment(self) -> dict[str, str]:
        """With kubectl, helm and a buildah for this cluster first on PATH; nothing goes there through a proxy."""
        path = f"{self.cache / 'bin'}:{HERE / 'bin'}:{os.environ['PATH']}"
        ranges = "10.201.0.0/16,10.202.0.0/16,10.203.0.0/30"
        direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), ranges)))
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path, "NO_PROXY": direct, "no_proxy": direct}

    # ---- up and down

    def build(self) -> None:
        """Everything it is made of is there; minutes the first time."""
        self.script("build.sh", timeout_s=3600)

    def is_up(self) -> bool:
        return self.component("kube-apiserver").pid() is not None

    def up(self, kwok_nodes: int = 0, *, fresh: bool = False) -> None:
        """It runs and answers; if it ran already, what was missing of it was started."""
        wanted = {"KT_KWOK_NODES": str(kwok_nodes)} if kwok_nodes else {}
        self.script("kube-up.sh", timeout_s=300, env=wanted | ({"KT_FRESH": "1"} if fresh else {}))

    def restore(self) -> None:
        self.up()

    def down(self, *, purge: bool = False) -> None:
        self.script("kube-down.sh", *(["--purge"] if purge else []))

    def component(self, name: str) -> Component:
        return Component(self, name)

    # ---- what is in it

    def kubectl(self, *words: str, input: str | None = None, check: bool = True, timeout_s: float = 120) -> str:
        """What it wrote; raises KubeError with what it said."""
        return self.run(["kubectl", *words], input=input, check=check, timeout_s=timeout_s).stdout

    def get(self, *words: str, namespace: str | None = None) -> Any:
        """`kubectl get …` as plain data."""
        place = ["--namespace", namespace] if namespace else []
        return json.loads(self.kubectl("get", *words, *place, "--output=json"))

    def apply(self, *objects: Object, namespace: str | None = None) -> None:
        place = ["--namespace", namespace] if namespace else []
        items = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", *place, "--filename=-", input=json.dumps(items))

    @contextmanager
    def namespace(self, prefix: str, labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """A new namespace with its default service account; deleted with all it holds at the end."""
        name = f"{prefix}-{uuid.uuid4().hex[:6]}"
        about = {"name": name, "labels": dict(labels or {})}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": about})
        try:
            self.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=30s")
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--timeout=180s", timeout_s=200)

    def compact(self) -> None:
        """The history of the API server is forgotten: a watch that goes on from an earlier version is answered 410."""
        status = json.loads(self.etcd("/v3/maintenance/status", {}))
        self.etcd("/v3/kv/compaction", {"revision": status["header"]["revision"], "physical": True})

    def etcd(self, path: str, body: Object) -> str:
        words = [
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            f"http://127.0.0.1:2379{path}",
            "--data",
            json.dumps(body),
        ]
        return self.run([*self.inside(), *words]).stdout

    # ---- images

    def build_images(self, *names: str, tag: str | None = None) -> None:
        """`make images` with a base that needs no registry; what did not change is taken from earlier builds."""
        self.script("base-image.sh", self.BASE_IMAGE, timeout_s=900)
        words = ["--base-image", self.BASE_IMAGE, *(["--tag", tag] if tag else [])]
        self.run(["python3", str(ROOT / "images" / "build.py"), "build", *words, *names], timeout_s=1800)

    def image_id(self, image: str) -> str:
        """In the store of the builder that `environment` has."""
        return self.run(["buildah", "inspect", "--type", "image", "--format", "{{.FromImageID}}", image]).stdout.strip()

    def load_image(self, image: str, name: str) -> None:
        """From the store that `environment` has the builder for, under a name with a registry."""
        self.script("image-load.sh", image, name, timeout_s=900)

    # ---- commands

    def inside(self) -> list[str]:
        """What makes a command one on the node."""
        holder = Component(self, "holder").pid()
        return ["nsenter", "--target", str(holder), "--mount", "--net", "--"]

    def script(
        self, name: str, *words: str, check: bool = True, timeout_s: float = 300, env: Mapping[str, str] | None = None
    ) -> str:
        """One of this folder's; what it wrote, without the last line's end."""
        return self.run([str(HERE / name), *words], check=check, timeout_s=timeout_s, env=env).stdout.strip()

    def run(
        self,
        argv: Sequence[str],
        *,
        input: str | None = None,
        check: bool = True,
        timeout_s: float = 120,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        environment = {**self.environment, **(env or {})}
        stdin = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=timeout_s, env=environment, cwd=cwd, **stdin
        )
        if check and done.returncode:
            raise KubeError(
                f"`{' '.join(argv)}` failed ({done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        return done


@contextmanager
def running_cluster(kwok_nodes: int = 2) -> Iterator[KubeCluster]:
    """The cluster that runs on this computer, which then stays; else one that is started now and stopped afterwards."""
    cluster = KubeCluster()
    cluster.build()
    was_up = cluster.is_up()
    try:
        cluster.up(kwok_nodes)
        yield cluster
    finally:
        if not was_up:
            cluster.down()
