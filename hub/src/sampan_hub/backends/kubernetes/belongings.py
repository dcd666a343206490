"""What a person has in the namespace beside their pods: a network policy while they have any, volumes for good."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

from sampan_hub.backends.base import BackendError, Identity
from sampan_hub.backends.kubernetes import names, policies
from sampan_hub.backends.kubernetes.client import ApiRefused, Json, KubeClient
from sampan_hub.backends.kubernetes.volumes import make_claims
from sampan_hub.settings.kubernetes import KubernetesBackend

log = logging.getLogger(__name__)

CLAIM_FRESH_S = 60.0
"""For so long a volume that was there is not asked for again."""
KNOWN_S = 30.0
"""For so long the policies that were there are taken to be there."""
LINGER_S = 10.0
"""How long a policy stays after the last pod: the next one often comes soon."""


class Belongings:
    """Makes them before a person's pod, keeps policies while there is one, and sweeps them after the last."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        instance: str,
        settings: KubernetesBackend,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._claims_path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        self._policies_path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
        self._instance = instance
        self._settings = settings
        self._clock_s = clock_s
        home = settings.storage.home.model_copy(update={"access": "ReadWriteOnce"})
        storage = settings.storage.model_copy(update={"home": home})
        self._settings_of_one_node = settings.model_copy(update={"storage": storage})
        self._of_one_node: set[str] = set()
        """Homes that only one node at a time can hold, though the settings have become more generous since."""
        self._claimed_at_s: dict[str, float] = {}
        self._policies: dict[str, str] | None = None
        """By name, what each there was made of."""
        self._policies_at_s = -KNOWN_S
        self._used_at_s: dict[str, float] = {}
        self._held: Counter[str] = Counter()
        self._tending: asyncio.Task[None] | None = None
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def beside(self, identity: Identity) -> AsyncIterator[KubernetesBackend]:
        """Within it everything is there, and stays, that must be before this job's pod. The settings for that pod.

        Raises ApiRefused, ApiUnreachable.
        """
        name = names.policy_name(self._instance, identity.owner)
        self._held[name] += 1
        try:
            async with self._turns[name]:
                if self._settings.network_policies:
                    await self._ensure_policy(identity.owner)
                for claim in make_claims(identity, self._settings.storage):
                    await self._ensure_claim(claim)
            is_of_one_node = names.home_claim(identity.owner) in self._of_one_node
            yield self._settings_of_one_node if is_of_one_node else self._settings
        finally:
            self._held[name] -= 1
            self._used_at_s[name] = self._clock_s()

    async def _ensure_claim(self, claim: Json) -> None:
        name = claim["metadata"]["name"]
        if self._clock_s() - self._claimed_at_s.get(name, -CLAIM_FRESH_S) < CLAIM_FRESH_S:
            return
        try:
            await self._client.post(self._claims_path, claim)
        except ApiRefused as error:
            if error.reason != "AlreadyExists":
                raise
            there = await self._client.get(f"{self._claims_path}/{name}")
            if not set(claim["spec"]["accessModes"]) <= set(there["spec"]["accessModes"]):
                self._of_one_node.add(name)
        self._claimed_at_s[name] = self._clock_s()

    async def _ensure_policy(self, owner: str) -> None:
        policy = policies.make_policy(self._instance, owner, self._settings)
        name, content = policy["metadata"]["name"], policy["metadata"]["annotations"][policies.CONTENT]
        there = await self._known_policies()
        if there.get(name) == content:
            return
        try:
            await self._client.post(self._policies_path, policy)
        except ApiRefused as error:
            if error.reason != "AlreadyExists":
                raise
            await self._client.put(f"{self._policies_path}/{name}", policy)
        there[name] = content

    async def _known_policies(self) -> dict[str, str]:
        if self._policies is None or self._clock_s() - self._policies_at_s >= KNOWN_S:
            asked_at_s = self._clock_s()
            selector = f"{names.INSTANCE}={self._instance},{names.MANAGED}=true"
            listed = await self._client.get(self._policies_path, labelSelector=selector)
            self._policies = {
                item["metadata"]["name"]: (item["metadata"].get("annotations") or {}).get(policies.CONTENT, "")
                for item in listed.get("items") or ()
            }
            self._policies_at_s = asked_at_s
        return self._policies

    def tend(self, owners: Collection[str]) -> None:
        """Begin to delete the policies of everybody but these, and to make theirs again that somebody else deleted.

        Beside everything else: no look waits for it. An API server that is away is no error: the next look begins anew.
        """
        if self._tending is None or self._tending.done():
            self._tending = asyncio.get_running_loop().create_task(self._tend(frozenset(owners)), name="policies")

    async def close(self) -> None:
        """Give up what is on its way."""
        if self._tending is not None:
            self._tending.cancel()
            await asyncio.gather(self._tending, return_exceptions=True)

    async def _tend(self, owners: Collection[str]) -> None:
        kept = {names.policy_name(self._instance, owner): owner for owner in owners}
        try:
            there = await self._known_policies()
            for name in [name for name in there if name not in kept]:
                async with self._turns[name]:
                    await self._sweep_one(name)
            if self._settings.network_policies:
                for name in [name for name in kept if name not in there]:
                    async with self._turns[name]:
                        await self._ensure_policy(kept[name])
        except BackendError as error:
            log.info("policies are tended to later: %s", error)

    async def _sweep_one(self, name: str) -> None:
        used_at_s = self._used_at_s.setdefault(name, self._clock_s())
        if self._held[name] or self._clock_s() - used_at_s < LINGER_S:
            return
        try:
            await self._client.delete(f"{self._policies_path}/{name}")
        except ApiRefused as error:
            if error.status != 404:
                raise
        (await self._known_policies()).pop(name, None)
        self._used_at_s.pop(name, None)
        self._held.pop(name, None)
