"""The backend itself: the contract of `backends.base`, over one watch of pods and single calls."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import (
    BackendError,
    Capacity,
    Expected,
    JobSpec,
    Listing,
    LogTail,
    Observed,
    Pace,
    Phase,
    Submitted,
)
from sampan_hub.backends.kubernetes.belongings import Belongings
from sampan_hub.backends.kubernetes.client import KubeClient
from sampan_hub.backends.kubernetes.ending import Ending
from sampan_hub.backends.kubernetes.journal import Journal
from sampan_hub.backends.kubernetes.names import INSTANCE
from sampan_hub.backends.kubernetes.noticing import Notices
from sampan_hub.backends.kubernetes.outputs import Outputs
from sampan_hub.backends.kubernetes.room import Room
from sampan_hub.backends.kubernetes.sighting import Reader, Sighting, describe_silence, observe
from sampan_hub.backends.kubernetes.submitting import SUBMIT_TIMEOUT_S, Submitter
from sampan_hub.backends.kubernetes.watching import Pods
from sampan_hub.settings.kubernetes import KubernetesBackend as Settings

log = logging.getLogger(__name__)

FRESH_S = 20.0
"""Within so long the API server must have said something for a look to need no question."""
LOOK_GAP = timedelta(seconds=2)
"""Between two full listings that are made because an expected job is not seen."""
Prove = Callable[[str, int, str], Awaitable[bool]]
"""Whether what listens at (host, port) shows, in a handshake, the certificate that was issued for this job.

Raises OSError when nobody answers."""


class KubernetesBackend:
    """Jobs of one namespace. Everything true is in Kubernetes; the journal keeps what that forgets."""

    pace = Pace(moving_s=1.0, steady_s=10.0, empty_s=20.0)
    submit_timeout_s = SUBMIT_TIMEOUT_S

    def __init__(
        self,
        name: str,
        settings: Settings,
        instance: str,
        client: KubeClient,
        *,
        signing_key: bytes,
        journal: Path,
        images: Mapping[str, str],
        prove: Prove,
        fresh_s: float = FRESH_S,
    ) -> None:
        """`journal`: a file of its own, made if missing. `images`: of environments that have one of their own."""
        self.name = name
        self.namespace = settings.namespace or client.namespace
        self._client = client
        self._prove = prove
        self._fresh_s = fresh_s
        pods_path = f"/api/v1/namespaces/{self.namespace}/pods"
        self._journal = Journal(journal)
        self._pods = Pods(client, pods_path, f"{INSTANCE}={instance}")
        self._reader = Reader(instance, signing_key)
        self._outputs = Outputs(client, pods_path, self._journal)
        self._notices = Notices(client, self.namespace)
        self._room = Room(client, settings)
        self._belongings = Belongings(client, self.namespace, instance, settings)
        self._ending = Ending(client, self.namespace, self._pods, self._journal, self._outputs)
        self._submitter = Submitter(client, pods_path, images, self._pods, self._journal, self._belongings)

    def announce(self, changed: Callable[[], None]) -> None:
        """Call this whenever the watch says that something changed."""
        self._pods.on_change = changed

    async def aclose(self) -> None:
        """End the watch and what is on its way; pods go on."""
        await self._pods.close()
        await self._ending.close()
        await self._belongings.close()
        await self._client.close()
        self._journal.close()

    async def submit(self, batch: Sequence[JobSpec]) -> Submitted:
        """One call for each pod, side by side; see the contract."""
        misfits = await self._room.misfits(batch)
        return await self._submitter.submit(batch, misfits)

    async def cancel(self, job_ids: Sequence[str]) -> None:
        """Delete these pods, with a grace; see the contract."""
        await self._pods.ensure_current(self._fresh_s)
        sightings = self._sightings()
        if any(job_id not in sightings and self._journal.is_open(job_id) for job_id in job_ids):
            await self._pods.look()
            sightings = self._sightings()
        named = [sightings[job_id] for job_id in job_ids if job_id in sightings]
        await self._ending.stop([sighting for sighting in named if sighting.is_ours and sighting.is_living])

    async def observe(self, expected: Collection[Expected] = ()) -> Listing:
        """What the watch has shown, no request; see the contract."""
        begun_at = datetime.now(UTC)
        self._pods.start()
        await self._pods.ensure_current(self._fresh_s)
        begun_at = await self._look_for(expected, begun_at)
        sightings, troubles = self._reader.read(self._pods.by_name.values())
        troubles += await self._ending.note(sightings, self._reader)
        troubles += describe_silence(sightings)
        living = [each for each in sightings if each.is_living and self._is_news(each)]
        events = await self._notices.of(living)
        jobs = [observe(sighting, events.get(sighting.uid, ())) for sighting in living]
        strangers = [_ended_stranger(each) for each in sightings if not each.is_living and not each.is_ours]
        self._belongings.tend({sighting.owner for sighting in sightings if sighting.is_ours})
        return Listing(
            backend=self.name,
            begun_at=begun_at,
            finished_at=datetime.now(UTC),
            jobs=(*jobs, *strangers, *self._journal.ends()),
            complete_history=True,
            troubles=tuple(troubles),
        )

    def _is_news(self, sighting: Sighting) -> bool:
        """Whether it says how its job is: not what has ended since, and not a pod whose node says nothing any more.

        The latter is left out, so that its job counts as out of sight, and after its time as lost.
        """
        return not (sighting.is_out_of_sight or self._journal.has_run_ended(sighting.job_id, sighting.uid))

    async def _look_for(self, expected: Collection[Expected], begun_at: datetime) -> datetime:
        """Since when this is complete: what should be there and is not shown was looked for in a full listing."""
        shown = self._sightings()
        if all(job.job_id in shown or self._journal.has_ended(job.job_id) for job in expected):
            return begun_at
        listed_at = self._pods.listed_at
        if listed_at is None or begun_at - listed_at > LOOK_GAP:
            await self._pods.look()
        return self._pods.listed_at or begun_at

    async def read_log(self, job_id: str, lines: int) -> LogTail:
        """The end of the job's output: from its node while the pod is there, then from the journal."""
        sighting = self._ours(job_id) if self._journal.seen(job_id) is not None else None
        return await self._outputs.tail(job_id, sighting, lines)

    async def capacity(self) -> Capacity:
        """What the nodes have, where Sampan may list those, and what of it our own jobs leave."""
        held = [sighting.identity.resources for sighting in self._living_ours() if sighting.identity is not None]
        return await self._room.capacity(held)

    async def owns_listener(self, job_id: str, host: str, port: int) -> bool:
        """Whether host is the pod's own address, and what listens there shows the certificate issued for this job."""
        sighting = self._ours(job_id)
        if sighting is None or not sighting.address:
            await self._pods.look()
            sighting = self._ours(job_id)
        if sighting is None or not sighting.address:  # it speaks, so it runs: the listing is late
            raise BackendError(f"{self.name}: Kubernetes does not show the address of {job_id} yet; ask again")
        if host != sighting.address:
            return False
        try:
            return await self._prove(host, port, job_id)
        except OSError as error:
            raise BackendError(f"{self.name}: what listens at {host}:{port} cannot be reached: {error}") from error

    async def forget(self, job_ids: Sequence[str]) -> None:
        """Drop what the journal keeps of ended jobs. A job that may still run is kept, and named in the error."""
        sightings = self._sightings()
        ended = [job_id for job_id in job_ids if self._journal.has_ended(job_id)]
        self._ending.forget([sightings[job_id] for job_id in ended if job_id in sightings])
        await self._journal.drop(ended)
        kept = [job_id for job_id in job_ids if self._journal.is_open(job_id)]
        if kept:
            raise BackendError(f"{self.name}: not known to have ended, so kept: {', '.join(kept[:5])}")

    async def published(self, path: str) -> Mapping[str, Any]:
        """What the cluster publishes at this path: by what the tokens of its pods are known."""
        return await self._client.get(path)

    def _sightings(self) -> dict[str, Sighting]:
        return {sighting.job_id: sighting for sighting in self._reader.read(self._pods.by_name.values())[0]}

    def _living_ours(self) -> list[Sighting]:
        return [sighting for sighting in self._sightings().values() if sighting.is_ours and sighting.is_living]

    def _ours(self, job_id: str) -> Sighting | None:
        sighting = self._sightings().get(job_id)
        return sighting if sighting is not None and sighting.is_ours else None


def _ended_stranger(sighting: Sighting) -> Observed:
    """A pod of somebody else's making proves nothing by its end."""
    return Observed(sighting.job_id, Phase.UNKNOWN, sighting.owner, sighting.identity)
