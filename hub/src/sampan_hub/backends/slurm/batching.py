"""From jobs to as few Slurm jobs as possible: arrays of neighbours that share everything but name and index. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sampan_hub.backends.base import Identity, JobSpec
from sampan_hub.backends.slurm.comment import TooLong, make_comment
from sampan_hub.backends.slurm.names import JobName, make_stage
from sampan_hub.jobs.keys import instance_of


@dataclass(frozen=True, slots=True)
class Array:
    """One call of sbatch."""

    name: JobName
    first: int | None
    """Its first array task; None: a single job."""
    specs: tuple[JobSpec, ...]
    comment: str

    @property
    def stage(self) -> str:
        return make_stage(self.name, self.first or 0)

    @property
    def tasks(self) -> tuple[int, int] | None:
        return None if self.first is None else (self.first, self.first + len(self.specs) - 1)

    def task(self, place: int) -> int | None:
        """The array task of the spec at this place."""
        return None if self.first is None else self.first + place


def make_arrays(specs: Sequence[JobSpec], key: bytes, block: int) -> Iterator[Array]:
    """Every job in exactly one of them. Raises ValueError for an identity that does not fit a comment alone."""
    alike: dict[Identity, list[JobSpec]] = defaultdict(list)
    for spec in specs:
        alike[_shared(spec.identity)].append(spec)
    for group in alike.values():
        for run in _runs(sorted(group, key=lambda spec: spec.identity.index), block):
            yield from _fitting(run, key, block)


def _shared(identity: Identity) -> Identity:
    """What jobs of one array have in common."""
    return replace(identity, job_id="", index=0, name="", signature="")


def _runs(specs: Sequence[JobSpec], block: int) -> Iterator[list[JobSpec]]:
    """Neighbours without a gap, within one block."""
    run: list[JobSpec] = []
    for spec in specs:
        index = spec.identity.index
        if run and (index != run[-1].identity.index + 1 or index % block == 0):
            yield run
            run = []
        run.append(spec)
    if run:
        yield run


def _fitting(run: Sequence[JobSpec], key: bytes, block: int) -> Iterator[Array]:
    """Halved until the comments fit."""
    try:
        yield _make_array(run, key, block)
    except TooLong:
        if len(run) == 1:
            raise
        half = len(run) // 2
        yield from _fitting(run[:half], key, block)
        yield from _fitting(run[half:], key, block)


def _make_array(run: Sequence[JobSpec], key: bytes, block: int) -> Array:
    identity = run[0].identity
    instance = instance_of(identity.job_id)
    if instance is None:
        raise ValueError(f"{identity.job_id} is not a job's key")
    index = identity.index
    offset, first = (index, None) if len(run) == 1 else (index // block * block, index % block)
    name = JobName(instance, identity.batch, offset)
    comment = make_comment([spec.identity for spec in run], name, first, key)
    return Array(name, first, tuple(run), comment)
