"""From a pod's end, or its disappearance, to a note of it; and only then the pod goes.

A pod that ended is proof. So is one that is gone although it was there: a pod's uid is never given again, and what a
full listing of the same namespace lacks, its nodes end. Whether it is the same namespace its own uid tells.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime

from sampan_hub.backends.base import BackendError, Observed, Phase
from sampan_hub.backends.kubernetes.client import ApiRefused, KubeClient
from sampan_hub.backends.kubernetes.journal import Journal, Seen
from sampan_hub.backends.kubernetes.outputs import Outputs
from sampan_hub.backends.kubernetes.pod import STOP_GRACE_S
from sampan_hub.backends.kubernetes.sighting import Reader, Sighting, observe_end
from sampan_hub.backends.kubernetes.states import SENTENCES
from sampan_hub.backends.kubernetes.watching import Pods
from sampan_hub.jobs.model import Reason, RunIdentity

log = logging.getLogger(__name__)

AT_ONCE = 16
TRY_OUTPUT_S = 30.0
"""How long an ended pod stays because its output cannot be had."""
PAUSE_S = 2.0
NAMESPACE = "namespace"
DELETED = Reason("deleted", SENTENCES["deleted"])


class Ending:
    """Ends pods, notes how they ended, and lets them go."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        pods: Pods,
        journal: Journal,
        outputs: Outputs,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace_path = f"/api/v1/namespaces/{namespace}"
        self._pods = pods
        self._journal = journal
        self._outputs = outputs
        self._clock_s = clock_s
        self._stopped: set[str] = set()
        """Uids of pods whose end was asked for here."""
        self._forgotten: set[str] = set()
        """Uids of pods that are still going, of jobs that nobody wants to know of any more."""
        self._going: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def stop(self, sightings: Sequence[Sighting]) -> None:
        """Ask for the end of these pods, their output so far kept. Raises BackendError when that was not delivered."""
        self._stopped.update(sighting.uid for sighting in sightings)
        outcomes = await asyncio.gather(*map(self._stop_one, sightings), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _stop_one(self, sighting: Sighting) -> None:
        async with self._slots:
            if "deletionTimestamp" in sighting.pod["metadata"]:
                return
            await self._outputs.keep_quickly(sighting)
            await self._delete(sighting, STOP_GRACE_S)

    async def _delete(self, sighting: Sighting, grace_s: int) -> None:
        """This very pod, and none that came after it under its name."""
        body = {"gracePeriodSeconds": grace_s, "preconditions": {"uid": sighting.uid}}
        try:
            await self._client.delete(f"{self._namespace_path}/pods/{sighting.name}", body)
        except ApiRefused as error:
            if error.status not in (404, 409):
                raise

    def forget(self, sightings: Sequence[Sighting]) -> None:
        """Take no more note of these, whose jobs have ended and whose pods are about to go."""
        self._forgotten.update(sighting.uid for sighting in sightings)

    async def note(self, sightings: Sequence[Sighting], reader: Reader) -> list[str]:
        """Note what is there and what ended since; in words, what an administrator should look at."""
        now = datetime.now(UTC)
        ours = [sighting for sighting in sightings if sighting.is_ours and sighting.uid not in self._forgotten]
        await self._journal.note_seen(Seen(each.job_id, each.uid, each.owner) for each in ours)
        over = [sighting for sighting in ours if not sighting.is_living]
        ends = [observe_end(sighting, now, was_deleted=self._is_deleted_by_others(sighting)) for sighting in over]
        gone = self._pods.gone()
        left = [each for each in reader.read(gone)[0] if each.is_ours and each.uid not in self._forgotten]
        ends += [observe_end(each, now, was_deleted=each.uid not in self._stopped) for each in left]
        await self._journal.note_ends(ends)
        self._pods.forget_gone(gone)
        shown = {sighting.uid for sighting in sightings}
        self._stopped &= shown
        self._forgotten &= shown
        for sighting in over:
            self._let_go(sighting)
        return await self._note_vanished({each.job_id for each in sightings}, now)

    def _is_deleted_by_others(self, sighting: Sighting) -> bool:
        return "deletionTimestamp" in sighting.pod["metadata"] and sighting.uid not in self._stopped

    async def _note_vanished(self, shown: Collection[str], now: datetime) -> list[str]:
        """What was there, is not, and was not seen going: it went while nobody looked."""
        vanished = [seen for seen in self._journal.open() if seen.job_id not in shown]
        if self._journal.fact(NAMESPACE) is not None and not vanished:
            return []
        trouble = await self._know_namespace()
        if trouble is not None:
            return [trouble]
        ends = [
            Observed(seen.job_id, Phase.ENDED, seen.owner, run=RunIdentity(seen.uid), reason=DELETED, ended_at=now)
            for seen in vanished
        ]
        await self._journal.note_ends(ends)
        return []

    async def _know_namespace(self) -> str | None:
        """Why a pod's absence proves nothing, in words; None where it does. Raises where the jobs are elsewhere."""
        try:
            uid = str((await self._client.get(self._namespace_path))["metadata"]["uid"])
        except ApiRefused as error:
            return (
                f"Kubernetes does not show Sampan its own namespace ({error.message[:200]}), so jobs whose pods went "
                "while it was away stay unknown: allow it to `get` that namespace."
            )
        known = self._journal.fact(NAMESPACE)
        if known is not None and known != uid and self._journal.open():
            raise BackendError(
                "the namespace is not the one in which jobs were started (another cluster, or made anew under the "
                "same name); nothing is concluded from it. Point Sampan to the right one"
            )
        if known != uid:
            await self._journal.note_fact(NAMESPACE, uid)
        return None

    def _let_go(self, sighting: Sighting) -> None:
        if sighting.uid not in self._going:
            task = asyncio.get_running_loop().create_task(self._keep_and_delete(sighting), name="kubernetes ended pod")
            self._going[sighting.uid] = task
            task.add_done_callback(lambda _: self._going.pop(sighting.uid, None))

    async def _keep_and_delete(self, sighting: Sighting) -> None:
        until_s = self._clock_s() + TRY_OUTPUT_S
        try:
            async with self._slots:
                while True:
                    try:
                        await self._outputs.keep(sighting)
                        break
                    except BackendError as error:
                        if self._clock_s() > until_s:
                            log.warning("the output of %s is not kept: %s", sighting.job_id, error)
                            break
                    await asyncio.sleep(PAUSE_S)
                await self._delete(sighting, 0)
        except BackendError as error:
            log.info("the ended pod %s is deleted later: %s", sighting.name, error)

    async def close(self) -> None:
        """Give up what is on its way; it is taken up at the next start."""
        tasks = list(self._going.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
