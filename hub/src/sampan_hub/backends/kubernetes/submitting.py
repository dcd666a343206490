"""Putting pods into the cluster: side by side, each with an outcome of its own."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from sampan_hub.backends.base import BackendError, Identity, JobSpec, Submitted
from sampan_hub.backends.kubernetes.belongings import Belongings
from sampan_hub.backends.kubernetes.client import CALL_LIMIT_S, ApiRefused, ApiUnreachable, Json, KubeClient
from sampan_hub.backends.kubernetes.identity import read_identity
from sampan_hub.backends.kubernetes.journal import Journal, Seen
from sampan_hub.backends.kubernetes.names import pod_name
from sampan_hub.backends.kubernetes.pod import make_pod
from sampan_hub.backends.kubernetes.refusals import explain_refusal, may_pass
from sampan_hub.backends.kubernetes.watching import Pods
from sampan_hub.jobs.model import Reason

log = logging.getLogger(__name__)

BEGIN_CALLS_S = 20.0
"""For so long a submit begins calls; each may then take its own time."""
SUBMIT_TIMEOUT_S = BEGIN_CALLS_S + CALL_LIMIT_S
AT_ONCE = 16
PAUSE_S = 0.2
PAUSE_AT_MOST_S = 3.0
TAKEN = Reason("name-taken", "A pod that is not this job's has its name. An administrator finds out whose it is.")

Answer = TypeVar("Answer")


class Submitter:
    """Makes pods. What it does not know it does not tell: the listing does."""

    def __init__(
        self,
        client: KubeClient,
        pods_path: str,
        images: Mapping[str, str],
        pods: Pods,
        journal: Journal,
        belongings: Belongings,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._path = pods_path
        self._images = images
        self._pods = pods
        self._journal = journal
        self._belongings = belongings
        self._clock_s = clock_s

    async def submit(self, batch: Sequence[JobSpec], misfits: Mapping[str, Reason]) -> Submitted:
        """See the contract. `misfits`: jobs that no node can ever hold."""
        until_s = self._clock_s() + BEGIN_CALLS_S
        held = {spec.job_id for spec in batch if self._journal.seen(spec.job_id) is not None}
        left = [spec for spec in batch if spec.job_id not in held and spec.job_id not in misfits]
        refused = {job_id: reason for job_id, reason in misfits.items() if job_id not in held}
        slots = asyncio.Semaphore(AT_ONCE)
        outcomes = await asyncio.gather(
            *(self._submit_one(spec, slots, until_s) for spec in left), return_exceptions=True
        )
        seen: list[Seen] = []
        failures: list[BackendError] = []
        for spec, outcome in zip(left, outcomes, strict=True):
            match outcome:
                case Seen():
                    seen.append(outcome)
                case Reason():
                    refused[spec.job_id] = outcome
                case BackendError():
                    failures.append(outcome)
                case BaseException():
                    raise outcome
        await self._journal.note_seen(seen)
        if failures and not (seen or refused or held):
            raise failures[0]
        for failure in failures[:1]:
            log.warning("%d of %d pods are in doubt: %s", len(failures), len(batch), failure)
        return Submitted(frozenset(held | {each.job_id for each in seen}), refused)

    async def _submit_one(self, spec: JobSpec, slots: asyncio.Semaphore, until_s: float) -> Seen | Reason:
        async with slots:
            try:
                pod = await self._again_until(until_s, lambda: self._make(spec))
            except ApiRefused as error:
                reason = explain_refusal(error)
                if reason is None:
                    raise
                return reason
        if not is_same_job(pod, spec.identity):
            return TAKEN
        self._pods.note(pod)
        return Seen(spec.job_id, pod["metadata"]["uid"], spec.identity.owner)

    async def _make(self, spec: JobSpec) -> Json:
        """The job's pod, made now or before."""
        async with self._belongings.beside(spec.identity) as settings:
            try:
                return await self._client.post(self._path, make_pod(spec, settings, self._images))
            except ApiRefused as error:
                if error.reason != "AlreadyExists":
                    raise
            return await self._client.get(f"{self._path}/{pod_name(spec.identity.kind, spec.job_id)}")

    async def _again_until(self, until_s: float, call: Callable[[], Awaitable[Answer]]) -> Answer:
        """The call, repeated while its failure may pass: it starts nothing twice, for a pod has one name."""
        pause_s = PAUSE_S
        while True:
            try:
                return await call()
            except ApiRefused as error:
                if not may_pass(error) or self._clock_s() + pause_s > until_s:
                    raise
                pause_s = max(pause_s, min(error.retry_after_s, PAUSE_AT_MOST_S))
            except ApiUnreachable:
                if self._clock_s() + pause_s > until_s:
                    raise
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - so that many do not come at once
            pause_s = min(PAUSE_AT_MOST_S, pause_s * 2)


def is_same_job(pod: Json, identity: Identity) -> bool:
    """Whether this pod is the one that was asked for with this identity, now or before."""
    return read_identity(pod["metadata"]) == identity
