"""What the other tests take for granted of the cluster, on the cluster itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kube.pods import BUSYBOX, as_user, make_pod
from tests.support.installation import wait_until
from tests.testbeds.kube.cluster import KubeCluster, KubeError

CONTENT = "content-42"


@pytest.fixture(scope="module")
def namespace(kube: KubeCluster) -> Iterator[str]:
    with kube.namespace("testbed") as name:
        yield name


def busybox(name: str, script: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return as_user(make_pod(name, BUSYBOX, ["sh", "-c", script], labels=labels), 1000)


def wait_ready(kube: KubeCluster, namespace: str, *pods: str) -> None:
    names = [f"pod/{pod}" for pod in pods]
    kube.kubectl("wait", "--for=condition=Ready", *names, f"--namespace={namespace}", "--timeout=90s")


def asked(kube: KubeCluster, namespace: str, pod: str, url: str) -> str:
    """What the pod got, and how its program ended: `rc=0` with content, `rc=1` refused, `rc=143` no answer."""
    script = f"timeout 3 wget -qO- {url} 2>&1; echo rc=$?"
    return kube.kubectl("exec", pod, f"--namespace={namespace}", "--", "sh", "-c", script)


def gets_in(kube: KubeCluster, namespace: str, pod: str, url: str) -> bool:
    said = asked(kube, namespace, pod, url)
    if CONTENT in said:
        return True
    assert said.rstrip().endswith(("rc=1", "rc=143")), said
    return False


@pytest.fixture
def served(kube: KubeCluster, namespace: str) -> str:
    """The address of a server, and pods `friend` and `stranger`."""
    mounted = busybox("server", f"echo {CONTENT} >/www/index.html; exec httpd -f -p 8080 -h /www", {"app": "server"})
    mounted["spec"]["volumes"] = [{"name": "www", "emptyDir": {}}]
    mounted["spec"]["containers"][0]["volumeMounts"] = [{"name": "www", "mountPath": "/www"}]
    friend, stranger = (busybox(name, "sleep 3600", {"role": name}) for name in ("friend", "stranger"))
    kube.apply(mounted, friend, stranger, namespace=namespace)
    wait_ready(kube, namespace, "server", "friend", "stranger")
    address = kube.get("pod", "server", namespace=namespace)["status"]["podIP"]
    return f"http://{address}:8080/"


def test_network_policies_are_enforced(kube: KubeCluster, namespace: str, served: str) -> None:
    wait_until(lambda: gets_in(kube, namespace, "friend", served), 20, "the friend's answer")
    assert gets_in(kube, namespace, "stranger", served)
    allowed = [{"from": [{"podSelector": {"matchLabels": {"role": "friend"}}}], "ports": [{"port": 8080}]}]
    spec = {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"], "ingress": allowed}
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "in"}, "spec": spec}
    kube.apply(policy, namespace=namespace)
    wait_until(lambda: not gets_in(kube, namespace, "stranger", served), 20, "the stranger kept out")
    assert gets_in(kube, namespace, "friend", served)
    kube.kubectl("delete", "networkpolicy", "in", f"--namespace={namespace}")
    wait_until(lambda: gets_in(kube, namespace, "stranger", served), 20, "the stranger let in again")


def claim(name: str, storage_class: str, mode: str) -> dict[str, Any]:
    spec = {"storageClassName": storage_class, "accessModes": [mode], "resources": {"requests": {"storage": "10Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def with_volume(pod: dict[str, Any], name: str) -> dict[str, Any]:
    pod["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    return pod


def test_a_shared_claim_is_seen_by_two_pods_and_a_lone_one_is_bound(kube: KubeCluster, namespace: str) -> None:
    writes = with_volume(busybox("writes", "echo seen >/data/mark; sleep 3600"), "shared")
    reads = with_volume(busybox("reads", "until cat /data/mark; do sleep 0.1; done; sleep 3600"), "shared")
    alone = with_volume(busybox("alone", "touch /data/mark && sleep 3600"), "lone")
    claims = (claim("shared", "shared-path", "ReadWriteMany"), claim("lone", "local-path", "ReadWriteOnce"))
    kube.apply(*claims, writes, reads, alone, namespace=namespace)
    wait_ready(kube, namespace, "writes", "reads", "alone")
    words = ("logs", "reads", f"--namespace={namespace}")
    wait_until(lambda: "seen" in kube.kubectl(*words), 30, "the other pod's mark")


def test_simulated_nodes_run_pods(kube: KubeCluster, namespace: str) -> None:
    pods = [busybox(f"simulated-{number}", "true") for number in range(20)]
    for pod in pods:
        pod["spec"]["nodeSelector"] = {"type": "kwok"}
        pod["spec"]["tolerations"] = [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}]
    kube.apply(*pods, namespace=namespace)
    wait_ready(kube, namespace, *(pod["metadata"]["name"] for pod in pods))
    hosts = {pod["spec"]["nodeName"] for pod in kube.get("pods", namespace=namespace)["items"]}
    assert {"kwok-node-0", "kwok-node-1"} <= hosts


def test_what_takes_more_memory_than_its_limit_is_killed(kube: KubeCluster, namespace: str) -> None:
    hog = busybox("hog", "exec tail /dev/zero")
    hog["spec"]["containers"][0]["resources"] = {"limits": {"memory": "48Mi"}}
    kube.apply(hog, namespace=namespace)

    def end() -> Any:
        statuses = kube.get("pod", "hog", namespace=namespace)["status"].get("containerStatuses", [])
        return statuses and statuses[0]["state"].get("terminated")

    ended = wait_until(end, 60, "the kill")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_nothing_leads_out_of_the_cluster(kube: KubeCluster) -> None:
    routes = kube.run([*kube.inside(), "ip", "-4", "route"]).stdout.splitlines()
    assert routes
    assert not [route for route in routes if route.startswith("default")]


def test_the_api_server_is_killed_and_comes_back(kube: KubeCluster, namespace: str) -> None:
    server = kube.component("kube-apiserver")
    server.kill()
    try:
        with pytest.raises(KubeError):
            kube.kubectl("get", "--raw=/readyz", "--request-timeout=2s")
        assert server.pid() is None
    finally:
        kube.restore()
    assert kube.kubectl("get", "--raw=/readyz") == "ok"
