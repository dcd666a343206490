"""Names in Slurm: `sampan.<instance>.<batch>.<offset>`, the index of a task being offset + array task. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sampan_hub.jobs.keys import make_job_id

BLOCK = 1000
"""Tasks of a batch that share an array's name, so that (batch, index) tells the name without any record."""

_NAME = re.compile(r"sampan\.([a-z2-7]{8})\.([a-z2-7]{24})\.(0|[1-9][0-9]{0,5})")
_ID = re.compile(r"([1-9][0-9]{0,9})(?:_(0|[1-9][0-9]{0,6}))?")
_SEVERAL = re.compile(r"([1-9][0-9]{0,9})_\[([0-9]{1,7}(?:-[0-9]{1,7})?(?:,[0-9]{1,7}(?:-[0-9]{1,7})?)*)(?:%[0-9]+)?\]")
_MOST_TASKS = 1_000_000


@dataclass(frozen=True, slots=True)
class JobName:
    """A Slurm job's name, read."""

    instance: str
    batch: str
    offset: int

    def __str__(self) -> str:
        return f"{make_prefix(self.instance)}{self.batch}.{self.offset}"

    def index(self, task: int | None) -> int:
        """The place in the batch of an array task, or of the job itself."""
        return self.offset + (task or 0)

    def job_id(self, task: int | None) -> str:
        return make_job_id(self.instance, self.batch, self.index(task))


def make_prefix(instance: str) -> str:
    """What all names of this installation begin with."""
    return f"sampan.{instance}."


def parse_job_name(text: str) -> JobName | None:
    """The name's parts; None for any other name."""
    match = _NAME.fullmatch(text)
    return JobName(match[1], match[2], int(match[3])) if match else None


def parse_slurm_id(text: str) -> tuple[int, int | None] | None:
    """Base id and array task of `123` or `123_4`; None for anything else (an unexpanded array, a heterogeneous job)."""
    match = _ID.fullmatch(text)
    if match is None:
        return None
    return int(match[1]), None if match[2] is None else int(match[2])


def parse_tasks(text: str) -> tuple[int, tuple[int, ...]] | None:
    """Base id and tasks of an array's record that stands for several: `123_[0-4,7%2]`; None for anything else."""
    match = _SEVERAL.fullmatch(text)
    if match is None:
        return None
    tasks: list[int] = []
    for part in match[2].split(","):
        first, _, last = part.partition("-")
        if int(last or first) - int(first) > _MOST_TASKS:
            return None
        tasks += range(int(first), int(last or first) + 1)
    return int(match[1]), tuple(tasks)


def make_candidates(instance: str, batch: str, index: int, block: int) -> tuple[JobName, JobName]:
    """The two names that a batch's job can have: in an array of its block, and alone."""
    return JobName(instance, batch, index // block * block), JobName(instance, batch, index)


def make_stage(name: JobName, first: int) -> str:
    """The folder of one array or job: its name and its first task."""
    return f"{name}.{first}"


def name_of_stage(stage: str) -> str:
    """The Slurm job's name in the name of its folder."""
    return stage.rpartition(".")[0]


def log_file(task: int | None) -> str:
    """The output file of a task in its stage."""
    return "job.log" if task is None else f"{task}.log"
