"""What a cluster says of its pods: keys, the documents that publish them, and tokens as kubelets put them into pods."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sampan_hub.service.tokens import DISCOVERY, KEYS

ISSUER = "https://kubernetes.default.svc.cluster.local"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def make_rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def make_ec() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


class PodCluster:
    """One cluster's API server as far as tokens go. `keys`: what it signs with and publishes, by key id."""

    def __init__(self, keys: Mapping[str, PrivateKey] | None = None) -> None:
        self.keys: dict[str, PrivateKey] = dict(keys or {"first": make_ec()})
        self.asked: list[str] = []

    async def published(self, path: str) -> Mapping[str, Any]:
        self.asked.append(path)
        return {DISCOVERY: self.discovery(), KEYS: self.jwks()}[path]

    def discovery(self) -> dict[str, Any]:
        return {"issuer": ISSUER, "jwks_uri": f"https://10.0.0.1:6443{KEYS}", "response_types_supported": ["id_token"]}

    def jwks(self) -> dict[str, Any]:
        return {"keys": [_describe(key_id, key) for key_id, key in self.keys.items()]}

    def claims(self, pod: str, uid: str, **changes: Any) -> dict[str, Any]:
        """As Kubernetes 1.34 writes them; a change to None leaves a claim out."""
        now = int(time.time())
        namespace, account = changes.pop("namespace", "research"), changes.pop("account", "sampan-jobs")
        claims = {
            "aud": ["sampan"],
            "exp": now + 3600,
            "iat": now,
            "iss": ISSUER,
            "jti": "4f1b6f4e-62d0-4d38-8bd5-5f0f1a3a9a11",
            "kubernetes.io": {
                "namespace": namespace,
                "node": {"name": "node-1", "uid": "d5ae5a4c-9ab2-4a26-8e50-53e1ac1f3a77"},
                "pod": {"name": pod, "uid": uid},
                "serviceaccount": {"name": account, "uid": "0a5b1b1e-26a2-4f69-8d06-0c5b8f0d6d3a"},
            },
            "nbf": now,
            "sub": f"system:serviceaccount:{namespace}:{account}",
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, pod: str, uid: str, *, key_id: str = "first", **changes: Any) -> str:
        """Signed with the key of that id."""
        return sign(self.claims(pod, uid, **changes), self.keys[key_id], key_id)


def sign(claims: Mapping[str, Any], key: PrivateKey, key_id: str) -> str:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return jwt.encode(dict(claims), key, algorithm=algorithm, headers={"kid": key_id})


def _describe(key_id: str, key: PrivateKey) -> dict[str, Any]:
    made: type[Any] = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    described = json.loads(made.to_jwk(key.public_key()))
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return {**described, "kid": key_id, "use": "sig", "alg": algorithm}
