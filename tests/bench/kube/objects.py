"""What the peers' pods are made of: plain objects as Kubernetes takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

ACCOUNT = "peer"
USER_ID = 1000


def make_account() -> list[Json]:
    """A service account that may do anything in its namespace: the peers' rights are not what is measured."""
    group = "rbac.authorization.k8s.io"
    about = {"name": ACCOUNT}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about},
        {
            "apiVersion": f"{group}/v1",
            "kind": "Role",
            "metadata": about,
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": about,
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT}],
            "roleRef": {"apiGroup": group, "kind": "Role", "name": ACCOUNT},
        },
    ]


def make_account_of_cluster(namespace: str) -> list[Json]:
    """What else an operator asks for: which resources there are, cluster-wide."""
    group = "rbac.authorization.k8s.io"
    about = {"name": f"bench-{namespace}"}
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": about,
            "rules": [
                {
                    "apiGroups": ["apiextensions.k8s.io", ""],
                    "resources": ["customresourcedefinitions", "namespaces"],
                    "verbs": ["get", "list", "watch"],
                }
            ],
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": about,
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": about["name"]},
        },
    ]


def make_pod(
    name: str,
    image: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    config: str | None = None,
    resources: Json | None = None,
) -> Json:
    """Runs as our pods do: uid 1000, nothing writable but /tmp and /srv. `config`: a ConfigMap at /etc/peer."""
    volumes: list[Json] = [{"name": name, "emptyDir": {}} for name in ("tmp", "srv")]
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, {"name": "srv", "mountPath": "/srv"}]
    if config is not None:
        volumes.append({"name": "config", "configMap": {"name": config}})
        mounts.append({"name": "config", "mountPath": "/etc/peer"})
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "Never",
        "command": list(argv),
        "workingDir": "/srv",
        "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
        "volumeMounts": mounts,
        "resources": resources or {},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"peer": name}},
        "spec": {
            "serviceAccountName": ACCOUNT,
            "terminationGracePeriodSeconds": 5,
            "nodeSelector": {"kube-testbed": "real"},
            "securityContext": {"runAsUser": USER_ID, "runAsGroup": USER_ID, "fsGroup": USER_ID},
            "containers": [container],
            "volumes": volumes,
        },
    }


def make_service(name: str, pod: str, ports: Mapping[str, int], *, public: bool = False) -> Json:
    """`public`: at a port of the node, too."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": "NodePort" if public else "ClusterIP",
            "selector": {"peer": pod},
            "ports": [{"name": word, "port": port} for word, port in ports.items()],
        },
    }


def make_resources(cores: float, memory_mib: int) -> Json:
    """Requests that are limits, as our sizes are."""
    amounts = {"cpu": f"{round(cores * 1000)}m", "memory": f"{memory_mib}Mi"}
    return {"requests": amounts, "limits": dict(amounts)}


def make_few_resources() -> Json:
    """Of a hub, a proxy or an operator: as little asked for, and as much allowed, as the tests give our own."""
    return {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
