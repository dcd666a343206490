"""Every state that Slurm gives a job, what it says of the job's life, and an end in words. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sampan_hub.backends.base import Phase
from sampan_hub.jobs.model import Reason

_QUEUED, _RUNNING, _ENDED, _UNKNOWN = Phase.QUEUED, Phase.RUNNING, Phase.ENDED, Phase.UNKNOWN

FINISHED = Reason("finished", "The job finished.")
FAILED = Reason("failed", "The job ended with an error.")
CANCELLED = Reason("cancelled", "The job was cancelled in Slurm.")
OUT_OF_MEMORY = Reason("out-of-memory", "The job needed more memory than its size has. Choose a bigger size.")
WALLTIME = Reason("walltime", "Its time was up: it ran for as long as its walltime allowed.")
NODE_FAILED = Reason("node-failed", "The machine it ran on failed. Start it again.")
BOOT_FAILED = Reason("boot-failed", "The machine it was to run on could not be started. Start it again.")
DEADLINE = Reason("deadline", "Slurm ended it because it could not have finished before its deadline.")
PREEMPTED = Reason("preempted", "Slurm ended it to make room for work with precedence. Start it again.")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a state says. `end`: why the job ended, where the state tells."""

    phase: Phase
    end: Reason | None = None


STATES: dict[str, Meaning] = {
    "BOOT_FAIL": Meaning(_ENDED, BOOT_FAILED),
    "CANCELLED": Meaning(_ENDED, CANCELLED),
    "COMPLETED": Meaning(_ENDED, FINISHED),
    "COMPLETING": Meaning(_RUNNING),  # some of its processes may still be there
    "CONFIGURING": Meaning(_QUEUED),  # its node is being started: nothing runs yet
    "DEADLINE": Meaning(_ENDED, DEADLINE),
    "EXPEDITING": Meaning(_QUEUED),
    "FAILED": Meaning(_ENDED, FAILED),
    "LAUNCH_FAILED": Meaning(_UNKNOWN),  # a mark on its way to being held or requeued
    "NODE_FAIL": Meaning(_ENDED, NODE_FAILED),
    "OUT_OF_MEMORY": Meaning(_ENDED, OUT_OF_MEMORY),
    "PENDING": Meaning(_QUEUED),
    "POWER_UP_NODE": Meaning(_QUEUED),
    "PREEMPTED": Meaning(_ENDED, PREEMPTED),
    "RECONFIG_FAIL": Meaning(_UNKNOWN),
    "REQUEUED": Meaning(_QUEUED),
    "REQUEUE_FED": Meaning(_QUEUED),
    "REQUEUE_HOLD": Meaning(_QUEUED),
    "RESIZING": Meaning(_RUNNING),
    "RESV_DEL_HOLD": Meaning(_QUEUED),
    "REVOKED": Meaning(_UNKNOWN),  # another cluster of the federation has it
    "RUNNING": Meaning(_RUNNING),
    "SIGNALING": Meaning(_RUNNING),
    "SPECIAL_EXIT": Meaning(_QUEUED),
    "STAGE_OUT": Meaning(_RUNNING),
    "STOPPED": Meaning(_RUNNING),
    "SUSPENDED": Meaning(_RUNNING),
    "TIMEOUT": Meaning(_ENDED, WALLTIME),
    "UPDATE_DB": Meaning(_UNKNOWN),
}
"""Complete for Slurm 22.05 to 24.11."""

COMPACT: dict[str, str] = {
    "BF": "BOOT_FAIL",
    "CA": "CANCELLED",
    "CD": "COMPLETED",
    "CF": "CONFIGURING",
    "CG": "COMPLETING",
    "DL": "DEADLINE",
    "EX": "EXPEDITING",
    "F": "FAILED",
    "LF": "LAUNCH_FAILED",
    "NF": "NODE_FAIL",
    "OOM": "OUT_OF_MEMORY",
    "PD": "PENDING",
    "PR": "PREEMPTED",
    "PU": "POWER_UP_NODE",
    "R": "RUNNING",
    "RD": "RESV_DEL_HOLD",
    "RF": "REQUEUE_FED",
    "RH": "REQUEUE_HOLD",
    "RQ": "REQUEUED",
    "RS": "RESIZING",
    "RV": "REVOKED",
    "S": "SUSPENDED",
    "SE": "SPECIAL_EXIT",
    "SI": "SIGNALING",
    "SO": "STAGE_OUT",
    "ST": "STOPPED",
    "TO": "TIMEOUT",
    "UD": "UPDATE_DB",
}

_CANCELLED_BY = re.compile(r"CANCELLED by (\d{1,10})")


@dataclass(frozen=True, slots=True)
class JobState:
    """One state as a command printed it. `is_listed`: whether the table has it."""

    name: str
    meaning: Meaning
    is_listed: bool
    cancelled_by: int | None = None
    """The uid that accounting recorded."""


def read_state(text: str) -> JobState:
    """The state in any of its spellings; one that the table lacks says nothing of the job."""
    by = _CANCELLED_BY.fullmatch(text)
    name = "CANCELLED" if by else COMPACT.get(text, text.removesuffix("+"))
    meaning = STATES.get(name)
    if meaning is None:
        return JobState(text, Meaning(_UNKNOWN), is_listed=False)
    return JobState(name, meaning, is_listed=True, cancelled_by=int(by[1]) if by else None)
