"""The network policy among one person's pods. Pure.

The installation's own policies deny everything else to what is managed here, and let the names be asked, the entry be
reached, and the entry and the hub reach notebooks. This one adds what is between a person's own jobs, and the way out.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sampan_hub.backends.kubernetes import names
from sampan_hub.settings.kubernetes import KubernetesBackend

Json = dict[str, Any]

CONTENT = "sampan.io/content"
"""The annotation with what a policy was made of: another one is replaced."""
NOT_PUBLIC = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
)
"""Private, shared, link-local (where clouds answer with credentials), loopback, multicast and reserved networks."""
NOT_PUBLIC_6 = ("::/127", "fc00::/7", "fe80::/10", "ff00::/8", "64:ff9b::/96")


def make_policy(instance: str, owner: str, settings: KubernetesBackend) -> Json:
    """One for each person, made before their first pod."""
    own = {names.INSTANCE: instance, names.OWNER: names.escape(owner)}
    ports = [{"protocol": "TCP", "port": settings.ports.first, "endPort": settings.ports.last}]
    theirs = [{"podSelector": {"matchLabels": own}}]
    egress: list[Json] = [{"to": theirs, "ports": ports}]
    if settings.allow:
        egress.append({"to": [{"ipBlock": {"cidr": network}} for network in settings.allow]})
    if settings.internet:
        public = {"cidr": "0.0.0.0/0", "except": list(NOT_PUBLIC)}
        public_6 = {"cidr": "::/0", "except": list(NOT_PUBLIC_6)}
        egress.append({"to": [{"ipBlock": public}, {"ipBlock": public_6}]})
    spec = {
        "podSelector": {"matchLabels": own},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": theirs, "ports": ports}],
        "egress": egress,
    }
    content = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:32]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": names.policy_name(instance, owner),
            "labels": {names.MANAGED: "true", **own},
            "annotations": {CONTENT: content},
        },
        "spec": spec,
    }
