"""dask-kubernetes: its operator in the peers' namespace, and a Python in a pod that makes its clusters."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from tests.bench.kube import images
from tests.bench.kube.objects import make_account_of_cluster, make_few_resources, make_pod, make_resources
from tests.bench.peers import CELLS, read_answer
from tests.support.installation import wait_until
from tests.testbeds.kube.cluster import KubeCluster

PYTHON = "python"
"""The pod in which clusters are made, as in a notebook."""
CRDS = """
from pathlib import Path
import dask_kubernetes.operator as operator
folder = Path(operator.__file__).parent / "deployment/helm/dask-kubernetes-operator/crds"
print("\\n---\\n".join(file.read_text() for file in sorted(folder.glob("*.yaml"))))
"""
OPERATOR = ["kopf", "run", "-m", "dask_kubernetes.operator.controller", "--liveness=http://0.0.0.0:8080/healthz"]
"""As its own image runs it."""


class PodPython:
    """A Python in a pod that runs cells, through `kubectl exec`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, code: str, timeout_s: float = 300) -> Any:
        """Run this cell; the value that it printed as `ANSWER <json>`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(code).encode() + b"\n")
        await self._process.stdin.drain()
        line = await asyncio.wait_for(self._process.stdout.readline(), timeout_s)
        if not line:
            raise RuntimeError(f"the peer's Python ended with {await self._process.wait()}; what it said is above")
        return read_answer(json.loads(line))


@asynccontextmanager
async def operator_python(kube: KubeCluster, namespace: str, cores: float, memory_mib: int) -> AsyncIterator[PodPython]:
    """The operator serves; pods and definitions are gone afterwards."""
    with _operator(kube, namespace, make_pod(PYTHON, images.PEERS, ["sleep", "infinity"],
                                             resources=make_resources(cores, memory_mib))):  # fmt: skip
        argv = ["kubectl", "exec", "--stdin", PYTHON, f"--namespace={namespace}", "--", "python", "-c", CELLS]
        process = await asyncio.create_subprocess_exec(
            *argv, env=kube.environment, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        try:
            yield PodPython(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@contextmanager
def _operator(kube: KubeCluster, namespace: str, python: dict[str, Any]) -> Iterator[None]:
    kube.apply(python, namespace=namespace)
    _wait_running(kube, namespace, PYTHON)
    definitions = kube.kubectl("exec", PYTHON, f"--namespace={namespace}", "--", "python", "-c", CRDS)
    kube.kubectl("apply", "--server-side", "--filename=-", input=definitions)
    rights = make_account_of_cluster(namespace)
    try:
        kube.apply(*rights)
        operator = make_pod(
            "operator", images.PEERS, [*OPERATOR, f"--namespace={namespace}"], resources=make_few_resources()
        )
        kube.apply(operator, namespace=namespace)
        _wait_running(kube, namespace, "operator")
        healthy = ["exec", "operator", f"--namespace={namespace}", "--", "python", "-c", HEALTHY]
        wait_until(lambda: "yes" in kube.kubectl(*healthy, check=False), 120, "the operator's health")
        yield
    finally:
        kube.kubectl("delete", "--filename=-", "--ignore-not-found", "--wait=true", "--timeout=60s", input=definitions)
        chosen = "--selector=peer in (operator,python)"
        kube.kubectl("delete", "pods", f"--namespace={namespace}", chosen, "--wait=true", "--timeout=60s")
        kube.kubectl("delete", "--filename=-", "--ignore-not-found", input=json.dumps(as_list(rights)))


HEALTHY = "from urllib.request import urlopen\nprint('yes', urlopen('http://127.0.0.1:8080/healthz').status)"


def as_list(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def _wait_running(kube: KubeCluster, namespace: str, pod: str) -> None:
    kube.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", f"--namespace={namespace}", "--timeout=120s",
                 timeout_s=130)  # fmt: skip
