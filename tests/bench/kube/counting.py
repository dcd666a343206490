"""How many requests a service account sends to the API server, by the server's own count.

The server's audit log would have to be set up at its start. Its fairness counts as well: what a flow schema of the
account's own matches is one number among its metrics, watches included, each as one request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.kube.objects import Json
from tests.testbeds.kube.cluster import KubeCluster

COUNTED = re.compile(
    r'^apiserver_flowcontrol_dispatched_requests_total\{flow_schema="([^"]+)".*\} (\S+)$', re.MULTILINE
)
BEFORE_ALL_ACCOUNTS = 5000
"""The server's own schema for service accounts comes at 9000."""


@dataclass(frozen=True, slots=True)
class Account:
    """A service account."""

    namespace: str
    name: str

    @property
    def schema(self) -> str:
        return f"bench-{self.namespace}-{self.name}"


def make_flow_schema(account: Account) -> Json:
    """Everything that this account asks, at the priority that it has anyway."""
    every = ["*"]
    resources = {"verbs": every, "apiGroups": every, "resources": every, "namespaces": every, "clusterScope": True}
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": account.schema},
        "spec": {
            "priorityLevelConfiguration": {"name": "workload-low"},
            "matchingPrecedence": BEFORE_ALL_ACCOUNTS,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [
                {
                    "subjects": [
                        {
                            "kind": "ServiceAccount",
                            "serviceAccount": {"namespace": account.namespace, "name": account.name},
                        }
                    ],
                    "resourceRules": [resources],
                    "nonResourceRules": [{"verbs": every, "nonResourceURLs": every}],
                }
            ],
        },
    }


@contextmanager
def counted(kube: KubeCluster, accounts: Sequence[Account]) -> Iterator[None]:
    """From here on `count` knows these accounts."""
    kube.apply(*map(make_flow_schema, accounts))
    try:
        yield
    finally:
        kube.kubectl("delete", "flowschemas", *(account.schema for account in accounts))


def count(kube: KubeCluster, account: Account) -> float:
    """Requests since `counted` began, or the server's start."""
    found = dict(COUNTED.findall(kube.kubectl("get", "--raw=/metrics")))
    return float(found.get(account.schema, 0))
