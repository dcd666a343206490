"""Tokens of pods: what is believed, what is refused, and when the cluster is asked for its keys."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from sampan_hub.backends.base import BackendError
from sampan_hub.jobs.keys import make_credential
from sampan_hub.service.tokens import (
    FRESH_S,
    LEEWAY_S,
    PAUSE_S,
    Issuer,
    KeysUnknown,
    Pod,
    PodTokens,
    TokenRefused,
    check_token,
    looks_like_token,
    parse_issuer,
)
from tests.support.pod_cluster import PodCluster, make_ec, make_rsa, sign

POD = Pod("research", "worker-abcdefgh-bcdefgh234567abc", "1c9f7d64-8f4e-4b7d-a0f5-6f3f1f6d6b11", "sampan-jobs")


@pytest.fixture(scope="module")
def cluster() -> PodCluster:
    return PodCluster({"first": make_ec(), "second": make_rsa()})


@pytest.fixture(scope="module")
def issuer(cluster: PodCluster) -> Issuer:
    return parse_issuer(cluster.discovery(), cluster.jwks())


@pytest.mark.parametrize("key_id", ["first", "second"])
def test_a_pods_own_token_says_which_pod_it_is(cluster: PodCluster, issuer: Issuer, key_id: str) -> None:
    token = cluster.token(POD.name, POD.uid, key_id=key_id)
    assert looks_like_token(token)
    assert check_token(token, issuer) == POD


REFUSED: dict[str, dict[str, Any]] = {
    "for the API server": {"aud": ["https://kubernetes.default.svc.cluster.local"]},
    "for nobody": {"aud": None},
    "for others, too": {"aud": ["sampan", "vault"]},
    "of another issuer": {"iss": "https://kubernetes.default.svc.example"},
    "of no issuer": {"iss": None},
    "expired": {"exp": int(time.time() - 2 * LEEWAY_S)},
    "without an end": {"exp": None},
    "from the future": {"nbf": int(time.time() + 600)},
    "of a service account without a pod": {
        "kubernetes.io": {"namespace": "research", "serviceaccount": {"name": "sampan-jobs", "uid": "u"}}
    },
    "of something else than Kubernetes": {"kubernetes.io": None},
    "of another subject": {"sub": "system:serviceaccount:research:default"},
    "of no subject": {"sub": None},
}


@pytest.mark.parametrize("changes", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_not_meant_for_us_now_is_refused(cluster: PodCluster, issuer: Issuer, changes: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        check_token(cluster.token(POD.name, POD.uid, **changes), issuer)


def test_a_clock_may_lag_a_little(cluster: PodCluster, issuer: Issuer) -> None:
    token = cluster.token(POD.name, POD.uid, exp=int(time.time() - LEEWAY_S / 2))
    assert check_token(token, issuer) == POD


def _part(content: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def test_what_the_cluster_did_not_sign_is_refused(cluster: PodCluster, issuer: Issuer) -> None:
    claims = cluster.claims(POD.name, POD.uid)
    public = cluster.keys["second"].public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    own = cluster.token(POD.name, POD.uid)
    forged = {
        "another's key under a known id": sign(claims, make_ec(), "first"),
        "another sort of key under a known id": sign(claims, make_rsa(), "first"),
        "an unknown key": sign(claims, make_ec(), "third"),
        "nobody": f"{_part({'alg': 'none', 'kid': 'first'})}.{_part(claims)}.",
        "nobody, with words": f"{_part({'alg': 'None', 'kid': 'first'})}.{_part(claims)}.{own.split('.')[2]}",
        "the public key as a secret": _by_secret(claims, public),
        "somebody before the claims were changed": ".".join(
            (own.split(".")[0], _part({**claims, "sub": "system:serviceaccount:research:other"}), own.split(".")[2])
        ),
    }
    for by, token in forged.items():
        with pytest.raises(TokenRefused):
            pytest.fail(f"signed by {by}: {check_token(token, issuer)}")


def _by_secret(claims: Mapping[str, Any], secret: bytes) -> str:
    """PyJWT refuses to make such a token, so by hand."""
    import hashlib
    import hmac

    signed = f"{_part({'alg': 'HS256', 'kid': 'second'})}.{_part(claims)}"
    mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_a_published_secret_is_no_key(cluster: PodCluster) -> None:
    shared = {"kty": "oct", "kid": "shared", "k": _part({"a": "secret of thirty-two bytes at least"}), "alg": "HS256"}
    odd = {"kty": "new", "kid": "odd"}
    issuer = parse_issuer(cluster.discovery(), {"keys": [shared, odd, *cluster.jwks()["keys"]]})
    assert issuer.keys.keys() == {"first", "second"}


@pytest.mark.parametrize("kind", ["hub", "admin", "bootstrap", "notebook", "scheduler", "worker"])
def test_our_own_credentials_are_never_taken_for_tokens(kind: Any) -> None:
    for subject in ("hub", "abcdefgh.bcdefgh234567abc", "bcdefgh234567abcbcdefgh2"):
        assert not looks_like_token(make_credential(b"key", subject, kind))
    assert not looks_like_token("3f786850e387550fdab836ed7e6dc881de23001b")
    assert not looks_like_token("a.b.c")
    assert not looks_like_token("..")


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def test_keys_are_fetched_once_for_everybody() -> None:
    cluster, clock = PodCluster(), Clock()
    tokens = PodTokens(cluster.published, clock)
    pods = await asyncio.gather(*(tokens.read(cluster.token(POD.name, POD.uid)) for _ in range(20)))
    assert set(pods) == {POD}
    assert len(cluster.asked) == 2
    clock.now_s += FRESH_S + 1
    await tokens.read(cluster.token(POD.name, POD.uid))
    assert len(cluster.asked) == 4, "a withdrawn key would be believed for ever"


async def test_a_new_key_is_looked_for_but_not_for_every_made_up_one() -> None:
    cluster, clock = PodCluster(), Clock()
    tokens = PodTokens(cluster.published, clock)
    await tokens.read(cluster.token(POD.name, POD.uid))
    cluster.keys["rotated"] = make_ec()
    with pytest.raises(KeysUnknown):
        await tokens.read(cluster.token(POD.name, POD.uid, key_id="rotated"))
    clock.now_s += PAUSE_S
    assert await tokens.read(cluster.token(POD.name, POD.uid, key_id="rotated")) == POD
    clock.now_s += PAUSE_S
    with pytest.raises(TokenRefused):
        await tokens.read(sign(cluster.claims(POD.name, POD.uid), make_ec(), "made-up"))
    asked = len(cluster.asked)
    with pytest.raises(KeysUnknown):
        await tokens.read(sign(cluster.claims(POD.name, POD.uid), make_ec(), "made-up-again"))
    assert len(cluster.asked) == asked


async def test_a_silent_cluster_is_no_refusal_and_no_permission() -> None:
    cluster = PodCluster()

    async def silent(_path: str) -> Mapping[str, Any]:
        raise BackendError("GET /openid/v1/jwks: the API server does not answer")

    async def garbled(_path: str) -> Mapping[str, Any]:
        return {"kind": "Status"}

    for fetch in (silent, garbled):
        with pytest.raises(KeysUnknown):
            await PodTokens(fetch).read(cluster.token(POD.name, POD.uid))


def test_tokens_of_the_hub_are_no_tokens_of_pods() -> None:
    assert not looks_like_token(jwt.encode({"sub": "ana"}, "a secret of thirty-two bytes or more", algorithm="HS256"))
