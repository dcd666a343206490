"""Which pod speaks: the token that a cluster puts into each pod, checked against the keys that the cluster publishes.

Such a token holds no secret of ours and gives no right to anything. It is asked for with our audience, names the pod
by name and uid, and is signed by the cluster's API server, whose public keys everybody may read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jwt

from sampan_hub.backends.base import BackendError
from sampan_hub.backends.kubernetes.volumes import AUDIENCE

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""What a cluster signs with. None of them works with a secret, or without a key."""
LEEWAY_S = 60.0
"""How far the clocks of this machine and the API server may be apart."""

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"
FRESH_S = 3600.0
"""Keys that the cluster has withdrawn are believed no longer than this."""
PAUSE_S = 5.0
"""Between two looks for a key that nobody has heard of, so that made-up tokens do not busy the API server."""

Fetch = Callable[[str], Awaitable[Mapping[str, Any]]]
"""As `Publisher.published`."""


@runtime_checkable
class Publisher(Protocol):
    """A backend whose jobs are pods of a cluster that publishes its keys."""

    async def published(self, path: str) -> Mapping[str, Any]:
        """GET of this path from the API server, as JSON. Raises BackendError where it does not answer."""


class TokenRefused(Exception):
    """This is no token of a pod here: what is wrong with it."""


class KeysUnknown(Exception):
    """The cluster did not say by which keys its tokens are known: nothing is known about this one. Ask again."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod by its cluster's word."""

    namespace: str
    name: str
    uid: str
    service_account: str


@dataclass(frozen=True, slots=True)
class Issuer:
    """By what a cluster's tokens are known."""

    name: str
    keys: Mapping[str, jwt.PyJWK]


def parse_issuer(discovery: Mapping[str, Any], published: Mapping[str, Any]) -> Issuer:
    """The issuer out of the two documents that a cluster publishes; keys of unknown sorts are left out."""
    keys = {}
    for entry in published["keys"]:
        try:
            key = jwt.PyJWK.from_dict(dict(entry))
        except jwt.PyJWTError:
            continue
        if key.key_id is not None and key.algorithm_name in ALGORITHMS:
            keys[key.key_id] = key
    return Issuer(str(discovery["issuer"]), keys)


def looks_like_token(text: str) -> bool:
    """Whether this is meant to be such a token; credentials of this installation never are."""
    return text.count(".") == 2 and _key_id(text) is not None


def check_token(text: str, issuer: Issuer) -> Pod:
    """Whose token this is. Raises TokenRefused unless the cluster signed exactly this, for us, for now."""
    key = issuer.keys.get(_key_id(text) or "")
    if key is None:
        raise TokenRefused("it is signed with a key that the cluster does not publish")
    try:
        claims = jwt.decode(
            text,
            key,
            algorithms=[key.algorithm_name],
            audience=AUDIENCE,
            issuer=issuer.name,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except jwt.PyJWTError as error:
        raise TokenRefused(str(error)) from error
    if claims["aud"] not in (AUDIENCE, [AUDIENCE]):
        raise TokenRefused("it is meant for others, too")
    return _read_pod(claims)


def _read_pod(claims: Mapping[str, Any]) -> Pod:
    try:
        said = claims["kubernetes.io"]
        pod = Pod(said["namespace"], said["pod"]["name"], said["pod"]["uid"], said["serviceaccount"]["name"])
    except (KeyError, TypeError) as error:
        raise TokenRefused("it belongs to no pod") from error
    if claims["sub"] != f"system:serviceaccount:{pod.namespace}:{pod.service_account}":
        raise TokenRefused("its subject is not its service account")
    return pod


def _key_id(text: str) -> str | None:
    try:
        return str(jwt.get_unverified_header(text)["kid"])
    except (jwt.PyJWTError, KeyError):
        return None


class PodTokens:
    """Recognises the pods of one cluster. Its keys are fetched when needed, once for everybody who waits."""

    def __init__(self, fetch: Fetch, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock_s = clock_s
        self._issuer: Issuer | None = None
        self._fetched_at_s = 0.0
        self._turn = asyncio.Lock()

    async def read(self, text: str) -> Pod:
        """Whose token this is. Raises TokenRefused, or KeysUnknown where the cluster cannot be asked."""
        issuer = await self._issuer_of(_key_id(text) or "")
        return check_token(text, issuer)

    async def _issuer_of(self, key_id: str) -> Issuer:
        """As published lately, and again where this key is not among them."""
        async with self._turn:
            age_s = self._clock_s() - self._fetched_at_s
            if self._issuer is None or age_s > FRESH_S:
                return await self._look()
            if key_id in self._issuer.keys:
                return self._issuer
            if age_s < PAUSE_S:
                raise KeysUnknown("its key was not published a moment ago")
            return await self._look()

    async def _look(self) -> Issuer:
        try:
            discovery, published = await self._fetch(DISCOVERY), await self._fetch(KEYS)
            self._issuer = parse_issuer(discovery, published)
        except BackendError as error:
            raise KeysUnknown(str(error)) from error
        except (KeyError, TypeError) as error:
            raise KeysUnknown(f"what the cluster publishes at {DISCOVERY} and {KEYS} is not as expected") from error
        self._fetched_at_s = self._clock_s()
        return self._issuer
