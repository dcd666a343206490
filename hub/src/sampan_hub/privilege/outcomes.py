"""What Slurm's programs said, read: the ids of jobs, and whether a failure is a refusal or no answer. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sampan_hub.privilege.errors import RunAsError

_PARSABLE = re.compile(r"([1-9][0-9]{0,9})(?:;[A-Za-z0-9._-]+)?")
_BASE_JOB = re.compile(r"([1-9][0-9]{0,9})(?:_.*)?")
_OPEN_JOB = re.compile(r"([1-9][0-9]{0,9})\|([0-9]+|N/A)\|(.*)")
_PREFIX = re.compile(r"(?:sbatch|scancel|squeue|sacct): (?:error: |fatal: )?")
_SUBMISSION = "Batch job submission failed: "

_NO_ANSWER = (
    "Unable to contact slurm controller",
    "Socket timed out",
    "Zero Bytes were transmitted",
    "Slurm backup controller in standby mode",
    "Communication connection failure",
    "Communication shutdown failure",
    "Message receive failure",
    "Message send failure",
    "Unexpected message received",
    "Connection refused",
    "Connection timed out",
    "Connection reset",
    "No route to host",
    "Network is unreachable",
    "Transport endpoint",
    "Broken pipe",
    "Unable to establish controller machine",
    "Unable to connect to database",
    "Slurm temporarily unable to accept job",
    "Slurm job queue full",
    "Job creation temporarily disabled",
    "unable to load job state",
    "Resource temporarily unavailable",
    "Could not establish a configuration source",
)
"""What says nothing about the job: the same call may succeed later, and this one may still have arrived."""

_NOT_THE_JOB = (
    "Protocol authentication error",
    "Invalid authentication credential",
    "Incompatible versions",
    "Incompatible plugin",
    "I/O error writing script",
    "Slurm internal error",
    "Memory management error",
)
"""What an administrator has to repair; no fault of this job."""

_NOT_UNDERSTOOD = ("unrecognized option", "invalid --", "invalid numeric value", "invalid generic resource")
"""What sbatch says of an option before it asks anybody."""

_BENIGN = ("Invalid job id specified", "already completing or completed", "Job has already finished")


class Done(NamedTuple):
    """How a program ended."""

    code: int
    output: str
    errors: str


def _lines(text: str) -> list[str]:
    return [_PREFIX.sub("", line.strip()) for line in text.splitlines() if line.strip()]


def _has(lines: list[str], phrases: tuple[str, ...]) -> bool:
    return any(phrase.lower() in line.lower() for line in lines for phrase in phrases)


def _sentence(lines: list[str]) -> str:
    """What was said, on one line and not too long for a page."""
    said = "; ".join(dict.fromkeys(line.removeprefix(_SUBMISSION).rstrip(".") for line in lines))
    return "".join(mark if mark.isprintable() else " " for mark in said)[:500] or "it gave no reason"


def read_failure(program: str, done: Done) -> RunAsError:
    """The error for a program that ended with a code."""
    lines = _lines(done.errors)
    if _has(lines, _NO_ANSWER):
        return RunAsError("unreachable", f"Slurm does not answer: {_sentence(lines)}.")
    is_refusal = _has(lines, (_SUBMISSION, *_NOT_UNDERSTOOD))
    if program == "sbatch" and is_refusal and not _has(lines, _NOT_THE_JOB):
        return RunAsError("refused", f"Slurm refused the job: {_sentence(lines)}.")
    return RunAsError("failed", f"{program} failed with code {done.code}: {_sentence(lines)}.")


def read_submitted(done: Done) -> int:
    """The id of the job that sbatch has put into the queue."""
    if done.code != 0:
        raise read_failure("sbatch", done)
    said = done.output.strip().splitlines()
    found = _PARSABLE.fullmatch(said[-1].strip()) if said else None
    if found is None:
        raise RunAsError("failed", "sbatch said yes without the id of the job: look whether it is in the queue.")
    return int(found[1])


def read_found(program: str, done: Done, folder: str) -> int | None:
    """The job whose folder is this very stage; of several the first; None when there is none."""
    if done.code != 0:
        raise read_failure(program, done)
    found = []
    for line in done.output.splitlines():
        job, separator, place = line.strip().partition("|")
        base = _BASE_JOB.fullmatch(job)
        if base is None or not separator:
            raise RunAsError("failed", f"{program} gave a line that is not understood.")
        if place == folder:
            found.append(int(base[1]))
    return min(found, default=None)


def read_open(done: Done, name_prefix: str, root: str) -> set[str]:
    """The user's open jobs (`123`) and tasks (`123_4`) whose name, or folder in `root`, begins with the prefix.

    A person can rename a job, and cannot move one that runs.
    """
    if done.code != 0:
        raise read_failure("squeue", done)
    found, is_begun = set(), False
    for line in done.output.splitlines():
        job = _OPEN_JOB.fullmatch(line.strip())
        if job is None and not is_begun:
            raise RunAsError("failed", "squeue gave a line that is not understood.")
        is_begun = True
        if job is None:  # a name or a folder has line ends
            continue
        folder, _, name = job[3].rpartition("|")
        if name.startswith(name_prefix) or folder.startswith(f"{root}/{name_prefix}"):
            found.add(job[1] if job[2] == "N/A" else f"{job[1]}_{job[2]}")
    return found


def choose_to_cancel(asked: Iterable[str], still_open: set[str]) -> list[str]:
    """What scancel is told: those asked for that are open; an array as a whole where nothing else of it is open.

    One id is one question to the controller, so a whole array costs one and not a thousand.
    """
    wanted = set(asked)
    chosen = {job for job in still_open if job in wanted or job.partition("_")[0] in wanted}
    whole = {base for base in (job.partition("_")[0] for job in chosen) if _is_all_of(base, chosen, still_open)}
    return sorted(whole | {job for job in chosen if job.partition("_")[0] not in whole})


def _is_all_of(base: str, chosen: set[str], still_open: set[str]) -> bool:
    return all(job in chosen for job in still_open if job.partition("_")[0] == base)


def check_cancelled(done: Done) -> None:
    """Fine where scancel succeeded, or complained only about jobs that had ended meanwhile."""
    complaints = _lines(done.errors)
    if done.code == 0 or (complaints and all(_has([line], _BENIGN) for line in complaints)):
        return
    raise read_failure("scancel", done)
