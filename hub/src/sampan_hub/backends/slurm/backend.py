"""The backend itself: the contract of `backends.base`, over Slurm's commands and the program that acts as people."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

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
from sampan_hub.backends.slurm import capacity, listing, nodes
from sampan_hub.backends.slurm.acting import CALL_LIMIT_S, Acting, ActingRefused
from sampan_hub.backends.slurm.commands import Commands
from sampan_hub.backends.slurm.configuration import Configuration, read_configuration
from sampan_hub.backends.slurm.ends import Ends, Found
from sampan_hub.backends.slurm.journal import Journal
from sampan_hub.backends.slurm.known import Known
from sampan_hub.backends.slurm.listing import Row
from sampan_hub.backends.slurm.names import log_file, make_prefix
from sampan_hub.backends.slurm.placement import partitions
from sampan_hub.backends.slurm.sighting import Reader, Sighting, observe
from sampan_hub.backends.slurm.submitting import Submitter
from sampan_hub.jobs.keys import instance_of
from sampan_hub.settings.model import Environment
from sampan_hub.settings.slurm import SlurmBackend as Settings

log = logging.getLogger(__name__)

BEGIN_CALLS_S = 30.0
"""For so long a submit begins calls; each may then take its own time."""
CAPACITY_FRESH_S = 60.0
CAPACITY_GAP_S = 10.0
Prove = Callable[[str, int, str], Awaitable[bool]]
"""Whether what listens at (host, port) shows, in a handshake, the certificate that was issued for this job.

Raises OSError when nobody answers."""


async def prove_nothing(_host: str, _port: int, _job_id: str) -> bool:
    """Without certificates nobody can show whose a listener on another machine is."""
    return False


class SlurmBackend:
    """Jobs of one Slurm cluster. Everything true is in Slurm; `journal` only remembers where logs are."""

    pace = Pace(moving_s=2.0, steady_s=30.0, empty_s=30.0, gap_s=1.0, patient=True)
    submit_timeout_s = BEGIN_CALLS_S + CALL_LIMIT_S

    def __init__(
        self,
        name: str,
        settings: Settings,
        instance: str,
        *,
        signing_key: bytes,
        acting: Acting,
        journal: Path,
        environments: Mapping[str, Environment],
        prove: Prove = prove_nothing,
        capacity_gap_s: float = CAPACITY_GAP_S,
    ) -> None:
        """`journal`: a file of its own, made if missing. `capacity_gap_s`: the shortest time between two `sinfo`."""
        self.name = name
        self._settings = settings
        self._instance = instance
        self._acting = acting
        self._prove = prove
        self._capacity_gap_s = capacity_gap_s
        is_one = settings.submit_as == "one"
        own_name = pwd.getpwuid(os.getuid()).pw_name if is_one else None
        self._commands = Commands(name, settings.commands)
        self._journal = Journal(journal)
        self._known = Known(Reader(instance, signing_key, os.getuid() if is_one else None), self._journal)
        self._ends = Ends(name, self._commands, self._journal, instance)
        self._submitter = Submitter(settings, acting, self._journal, environments, signing_key, own_name)
        self._configuration: Configuration | None = None
        self._capacity: tuple[float, int, Capacity] | None = None
        self._calls = 0

    @property
    def unlisted_states(self) -> int:
        """How often a state was seen that the table of states does not have."""
        return self._known.unlisted_states

    def close(self) -> None:
        self._journal.close()

    async def submit(self, batch: Sequence[JobSpec]) -> Submitted:
        """As few calls of sbatch as possible, each as its person; see the contract."""
        configuration = await self._configured()
        self._calls += 1
        outcome = await self._submitter.submit(batch, configuration.block, BEGIN_CALLS_S)
        if not outcome.doubted:
            return Submitted(frozenset(outcome.accepted), outcome.refused)
        try:
            shown = {sighting.job_id for sighting in await self._look()}
        except BackendError:
            if not (outcome.accepted or outcome.refused):
                raise
            shown = set()
        return Submitted(frozenset(outcome.accepted | (outcome.doubted & shown)), outcome.refused)

    async def cancel(self, job_ids: Sequence[str]) -> None:
        """One call for each person whose jobs are among them; see the contract."""
        ours = [job_id for job_id in job_ids if instance_of(job_id) == self._instance]
        if not all(self._known.is_known(job_id) for job_id in ours):
            await self._look()
        targets: dict[str, dict[str, None]] = defaultdict(dict)
        for job_id in ours:
            for user, slurm_id in self._known.targets(job_id):
                targets[user][slurm_id] = None
        self._known.cancelled.update(ours)
        self._calls += 1
        prefix = make_prefix(self._instance)
        calls = (self._acting.cancel(user, list(ids), prefix) for user, ids in targets.items())
        for failure in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(failure, BaseException):
                raise failure

    async def observe(self, expected: Collection[Expected] = ()) -> Listing:
        """One `squeue` for everything, and one `sacct` for what it does not tell; see the contract."""
        begun_at = datetime.now(UTC)
        configuration = await self._configured()
        rows = await self._rows()
        sightings, troubles = self._known.read(rows)
        now = datetime.now(UTC)
        jobs = self._living(sightings, rows, now)
        found = await self._find_ends(sightings, expected, now)
        self._journal.note_end(found.ended)
        jobs += found.others
        jobs += self._journal.ends()
        if found.trouble is not None:
            troubles = [*troubles, f"Accounting could not be asked how jobs ended: {found.trouble}."]
        return Listing(
            backend=self.name,
            begun_at=begun_at,
            finished_at=datetime.now(UTC),
            jobs=tuple(jobs),
            complete_history=configuration.has_accounting,
            troubles=tuple(troubles),
            is_settled=not found.is_waiting,
        )

    def _living(self, sightings: Sequence[Sighting], rows: Sequence[Row], now: datetime) -> list[Observed]:
        positions = listing.make_positions(rows)
        return [
            observe(sighting, positions.get(sighting.row.slurm_id), now)
            for sighting in sightings
            if sighting.phase is not Phase.ENDED
        ]

    async def _find_ends(self, sightings: Sequence[Sighting], expected: Collection[Expected], now: datetime) -> Found:
        configuration = await self._configured()
        over = self._known.new_ends(sightings)
        if not configuration.has_accounting:
            return await self._ends.find_by_status(over, now)
        shown = {sighting.job_id for sighting in sightings}
        absent = [job for job in expected if job.job_id not in shown and not self._journal.has_ended(job.job_id)]
        numbers = frozenset((sighting.name.batch, sighting.row.raw_id) for sighting in sightings)
        return await self._ends.find_by_accounting(
            over, absent, numbers, now, configuration.block, self._known.cancelled
        )

    async def read_log(self, job_id: str, lines: int) -> LogTail:
        """The end of the job's output, read as its person; empty for a job that is not remembered."""
        entry = self._journal.find(job_id)
        if entry is None:
            return LogTail((), truncated=False)
        return await self._acting.log(entry.user, entry.stage, log_file(entry.task), lines)

    async def capacity(self) -> Capacity:
        """What the partitions of the settings have; asked at most once a minute while nothing of ours changes."""
        now = asyncio.get_running_loop().time()
        changes = self._known.changes + self._calls
        if self._capacity is not None:
            asked_at, changes_then, told = self._capacity
            if now - asked_at < (CAPACITY_FRESH_S if changes == changes_then else self._capacity_gap_s):
                return told
        text = await self._commands.run("sinfo", *capacity.make_arguments(partitions(self._settings)))
        total, free = capacity.parse_capacity(text, self.name)
        told = Capacity(total, free, queues=True)
        self._capacity = (now, changes, told)
        return told

    async def owns_listener(self, job_id: str, host: str, port: int) -> bool:
        """Whether host is the job's own node, and what listens there shows the certificate issued for this job."""
        on = self._nodes_of(job_id)
        if not on:
            await self._look()
            on = self._nodes_of(job_id)
        if not on:  # it speaks, so it runs: the listing is late or lacks it
            raise BackendError(f"{self.name}: Slurm does not show on which node {job_id} runs; ask again")
        if not await nodes.is_on(host, on, self._settings.network):
            return False
        try:
            return await self._prove(host, port, job_id)
        except OSError as error:
            raise BackendError(f"{self.name}: what listens at {host}:{port} cannot be reached: {error}") from error

    def _nodes_of(self, job_id: str) -> set[str]:
        return {
            sighting.row.node
            for sighting in self._known.of(job_id)
            if sighting.phase is Phase.RUNNING and sighting.identity is not None
        }

    async def forget(self, job_ids: Sequence[str]) -> None:
        """Remove the stages of ended jobs. A job that may still run is kept, and named in the error."""
        ended = [job_id for job_id in job_ids if self._journal.has_ended(job_id)]
        for user, stages in self._journal.stages_without(ended).items():
            try:
                await self._acting.remove_stages(user, stages)
            except ActingRefused as error:  # the person or the folder is gone: nothing is left to remove
                log.info("%s: stages of %s are not removed: %s", self.name, user, error.text)
        self._known.forget(ended)
        kept = [job_id for job_id in job_ids if job_id not in ended and self._journal.find(job_id) is not None]
        if kept:
            raise BackendError(f"{self.name}: not known to have ended, so kept: {', '.join(kept[:5])}")

    async def _configured(self) -> Configuration:
        if self._configuration is None:
            read = await read_configuration(self._commands)
            has_accounting = read.has_accounting if self._settings.accounting is None else self._settings.accounting
            self._configuration = Configuration(has_accounting, read.block)
        return self._configuration

    async def _rows(self) -> list[Row]:
        word = secrets.token_hex(8)
        text = await self._commands.run("squeue", *listing.ARGUMENTS, variables=listing.make_variables(word))
        return listing.parse_listing(text, word, self.name)

    async def _look(self) -> Sequence[Sighting]:
        return self._known.read(await self._rows())[0]
