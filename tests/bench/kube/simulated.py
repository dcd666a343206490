"""Simulated nodes, and pods on them that only pretend: nothing runs there, so the bench speaks for them."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Coroutine, Iterable
from typing import Any

import aiohttp

from sampan_hub.backends.kubernetes.client import KubeClient
from sampan_hub.settings.access import find_access
from tests.bench.kube.bed import API, SIMULATED, Bed
from tests.bench.kube.nodes import LABEL, TOLERATION, Json
from tests.support.installation import wait_until

AT_ONCE = 8
SCHEDULER = "tls://10.201.0.2:31999"
"""Workers that pretend are told of one, and never speak to it."""
UNSENT = ("accepted", "submitting")
TIMEOUT_S = 400.0


class MockCluster:
    """A cluster of a running notebook of ana's; the bench plays its host, and the workers."""

    def __init__(self, bed: Bed, notebook: str) -> None:
        self.bed = bed
        parent = bed.credential(notebook, "notebook")
        made = bed.ask("POST", "/clusters", parent, {"name": f"c{uuid.uuid4().hex[:8]}"})
        self.id: str = made["cluster"]["id"]
        self.credential: str = made["credential"]
        bed.ask("PUT", f"/clusters/{self.id}", self.credential, {"state": "running", "scheduler": SCHEDULER})

    def submit(self, count: int) -> list[str]:
        """One request for so many workers; their ids."""
        base = {"kind": "worker", "cluster": self.id, "size": SIMULATED}
        body = {"batch": uuid.uuid4().hex, "base": base, "items": [{"name": f"w{number}"} for number in range(count)]}
        answer = self.bed.ask("POST", "/jobs", self.credential, body)
        assert all(item["status"] == "accepted" for item in answer["items"]), answer["items"][0]
        return [item["job"]["id"] for item in answer["items"]]

    def states(self) -> Counter[str]:
        """Of its workers; the lease is renewed by asking."""
        shown = self.bed.ask("GET", f"/jobs?cluster={self.id}", self.credential)
        return Counter(job["state"] for job in shown["jobs"])

    def is_sent(self) -> bool:
        """Whether every worker has its pod, on record."""
        states = self.states()
        return not any(states[state] for state in UNSENT)

    def stop(self, ids: list[str]) -> None:
        """The workers have ended."""
        for start in range(0, len(ids), 500):
            self.bed.ask("POST", "/jobs/stop", self.credential, {"ids": ids[start : start + 500]})
        wait_until(lambda: self.states()["ended"] >= len(ids), TIMEOUT_S, "the workers' end")


class Players:
    """Says for simulated pods what their programs would say, with the tokens that the cluster would give them."""

    def __init__(self, bed: Bed, session: aiohttp.ClientSession) -> None:
        self._bed = bed
        self._session = session
        self._client = KubeClient(find_access(bed.kube.kubeconfig, {}))
        self._path = f"/api/v1/namespaces/{bed.release.namespace}"

    async def close(self) -> None:
        await self._client.close()

    async def claim_all(self, pods: Iterable[Json]) -> None:
        """Each of these pods has claimed its job."""
        await few_at_once(self._claim(pod) for pod in pods)

    async def _claim(self, pod: Json) -> None:
        about, labels = pod["metadata"], pod["metadata"]["labels"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": about["name"], "uid": about["uid"]}
        account = f"{self._path}/serviceaccounts/{pod['spec']['serviceAccountName']}/token"
        asked = {"spec": {"audiences": ["sampan"], "expirationSeconds": 3600, "boundObjectRef": bound}}
        token = (await self._client.post(account, asked))["status"]["token"]
        body = {"run": about["uid"], "host": pod["spec"]["nodeName"], "address": pod["status"]["podIP"]}
        url = f"{self._bed.release.url}{API}/jobs/{labels['sampan.io/job']}/claim"
        async with self._session.post(url, json=body, headers={"Authorization": f"Bearer {token}"}) as answer:
            assert answer.status == 200, await answer.text()

    async def make_all(self, namespace: str, pods: Iterable[Json]) -> None:
        """These pods are there."""
        await few_at_once(self._client.post(f"/api/v1/namespaces/{namespace}/pods", pod) for pod in pods)


async def few_at_once(calls: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """All of them, a few at a time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(call: Coroutine[Any, Any, Any]) -> None:
        async with slots:
            await call

    await asyncio.gather(*map(one, calls))


def make_idle_pod(name: str, labels: dict[str, str]) -> Json:
    """One that a simulated node takes for running."""
    container = {"name": "main", "image": "kt.local/busybox:1", "command": ["sleep", "infinity"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeSelector": LABEL,
            "tolerations": [TOLERATION],
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    }
