"""Putting jobs into the queue: as few calls as possible, each at most once, whatever is known of it remembered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sampan_hub.backends.base import BackendError, JobSpec
from sampan_hub.backends.slurm.acting import Acting, ActingRefused, ActingUnreachable, Started
from sampan_hub.backends.slurm.batching import Array, make_arrays
from sampan_hub.backends.slurm.comment import TooLong
from sampan_hub.backends.slurm.journal import Entry, Journal
from sampan_hub.backends.slurm.placement import make_placement
from sampan_hub.backends.slurm.refusals import explain_refusal
from sampan_hub.backends.slurm.stage import Unfit, make_files
from sampan_hub.jobs.model import Reason
from sampan_hub.privilege.policy import Policy
from sampan_hub.privilege.requests import Options, Submit
from sampan_hub.settings.model import Environment
from sampan_hub.settings.slurm import SlurmBackend

log = logging.getLogger(__name__)

PERSIST_S = 15.0
"""For so long a submit that Slurm did not answer is asked again: restarts of a controller take seconds."""
_AGAIN_AFTER_S = 1.0


def make_acting(settings: SlurmBackend) -> Acting:
    """How this backend acts as people, by its settings."""
    if settings.submit_as == "one":
        folder = settings.commands
        policy = Policy(
            sbatch=str(folder / "sbatch"),
            scancel=str(folder / "scancel"),
            squeue=str(folder / "squeue"),
            sacct=str(folder / "sacct"),
            accounting=bool(settings.accounting),
        )
        return Acting.as_myself(policy)
    return Acting.through_sudo(run_as_of(settings), settings.sudo)


def run_as_of(settings: SlurmBackend) -> Path:
    """Where sampan-run-as is."""
    return settings.run_as or Path(sys.executable).with_name("sampan-run-as")


@dataclass(slots=True)
class Outcome:
    """What a submit came to, by job id. `doubted`: a listing must show them before they count as accepted."""

    accepted: set[str] = field(default_factory=set)
    refused: dict[str, Reason] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)


class Submitter:
    """Groups, prepares and hands over."""

    def __init__(
        self,
        settings: SlurmBackend,
        acting: Acting,
        journal: Journal,
        environments: Mapping[str, Environment],
        signing_key: bytes,
        own_name: str | None,
    ) -> None:
        """`own_name`: the one system user as whom everything runs; None: everybody as themselves."""
        self._settings = settings
        self._acting = acting
        self._journal = journal
        self._environments = environments
        self._key = signing_key
        self._own_name = own_name

    async def submit(self, batch: Sequence[JobSpec], block: int, begin_s: float) -> Outcome:
        """Raises BackendError only when nothing at all is known of any job. No call begins after `begin_s`."""
        outcome = Outcome()
        outcome.accepted.update(spec.job_id for spec in batch if self._journal.has_ended(spec.job_id))
        arrays = self._make_arrays([spec for spec in batch if spec.job_id not in outcome.accepted], block, outcome)
        last_begin = asyncio.get_running_loop().time() + begin_s
        calls = (self._submit_array(array, outcome, last_begin) for array in arrays)
        failures = [failure for failure in await asyncio.gather(*calls, return_exceptions=True) if failure is not None]
        for failure in failures:
            if not isinstance(failure, BackendError):
                raise failure
            log.warning("an array was not submitted, or it is not known: %s", failure)
        if failures and not (outcome.accepted or outcome.refused or outcome.doubted):
            raise failures[0]
        return outcome

    def _make_arrays(self, specs: Sequence[JobSpec], block: int, outcome: Outcome) -> list[Array]:
        by_user: dict[tuple[str, str], list[JobSpec]] = defaultdict(list)
        for spec in specs:
            by_user[self._own_name or spec.identity.owner, self._python(spec)].append(spec)
        arrays: list[Array] = []
        for group in by_user.values():
            try:
                arrays += make_arrays(group, self._key, block)
            except TooLong as error:
                reason = Reason("not-runnable", f"Names of owner, project or job are too long for Slurm: {error}.")
                outcome.refused.update((spec.job_id, reason) for spec in group)
        return arrays

    def _python(self, spec: JobSpec) -> str:
        """Any Python on the nodes starts the launcher; that of the environment is surely there."""
        environment = self._environments.get(spec.identity.environment)
        return str(environment.prefix / "bin" / "python") if environment is not None else spec.argv[0]

    async def _submit_array(self, array: Array, outcome: Outcome, last_begin: float) -> None:
        ids = {spec.job_id for spec in array.specs}
        try:
            request = self._make_request(array)
        except Unfit as error:
            outcome.refused.update(dict.fromkeys(ids, Reason("not-runnable", str(error))))
            return
        known = {spec.job_id: self._journal.find(spec.job_id) for spec in array.specs}
        self._journal.remember(self._entries(array, request.user, None))
        if asyncio.get_running_loop().time() > last_begin:
            raise BackendError("there was no time left to submit")
        try:
            started = await self._persist(request, last_begin)
        except ActingRefused as error:
            outcome.refused.update(dict.fromkeys(ids, explain_refusal(error.code, error.text)))
            with contextlib.suppress(BackendError):
                await self._acting.remove_stages(request.user, [request.stage])
            self._journal.drop(ids)
            return
        for job_id in ids:
            entry = known[job_id]
            is_sure = not started.was_there or (entry is not None and entry.base == started.slurm_job)
            (outcome.accepted if is_sure else outcome.doubted).add(job_id)
        self._journal.remember(self._entries(array, request.user, started.slurm_job))

    async def _persist(self, request: Submit, last_begin: float) -> Started:
        """Asked again for a while as long as Slurm does not answer: the same stage becomes one job at most."""
        loop = asyncio.get_running_loop()
        end = min(last_begin, loop.time() + PERSIST_S)
        while True:
            try:
                return await self._acting.submit(request)
            except ActingUnreachable:
                if loop.time() + _AGAIN_AFTER_S > end:
                    raise
                await asyncio.sleep(_AGAIN_AFTER_S)

    def _entries(self, array: Array, user: str, base: int | None) -> list[Entry]:
        return [
            Entry(spec.job_id, user, spec.identity.owner, array.stage, array.task(place), base)
            for place, spec in enumerate(array.specs)
        ]

    def _make_request(self, array: Array) -> Submit:
        first = array.specs[0]
        identity = first.identity
        placement = make_placement(self._settings, identity.size, identity.project, identity.resources)
        return Submit(
            user=self._own_name or identity.owner,
            stage=array.stage,
            files=make_files(array.specs, array.first),
            script_python=self._python(first),
            options=Options(
                name=str(array.name),
                comment=array.comment,
                partition=placement.partition,
                account=placement.account,
                qos=placement.qos,
                reservation=placement.reservation,
                constraint=placement.constraint,
                gres=placement.gres,
                cpus=placement.cpus,
                memory_mb=placement.memory_mb,
                gpus=placement.gpus,
                minutes=placement.minutes,
                tasks=array.tasks,
                directives=placement.directives,
            ),
        )
