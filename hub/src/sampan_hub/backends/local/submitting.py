"""Submit: every folder made whole, then every folder named, then every keeper started."""

from __future__ import annotations

import os
import pwd
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import BackendError, JobSpec, Submitted
from sampan_hub.backends.local import folders, records
from sampan_hub.backends.local.containment import group_of
from sampan_hub.backends.local.launcher import launch
from sampan_hub.backends.local.shim import files
from sampan_hub.backends.local.sighting import look_at
from sampan_hub.backends.local.tree import MARK
from sampan_hub.jobs.keys import instance_of
from sampan_hub.jobs.model import Kind, Reason

OOM_SCORES = {Kind.SCHEDULER: 200, Kind.NOTEBOOK: 300, Kind.WORKER: 700}
"""When memory runs out the kernel takes the highest first: workers before notebooks, all before hub and service."""
INHERITED = ("PATH", "HOME", "USER", "LANG", "TMPDIR")
"""All that a job gets of the service's own environment."""

Launch = Callable[[Path, Mapping[str, Mapping[str, Any]], float], Mapping[str, str | None]]
"""Start the keepers of these jobs (id -> spec); see `launcher.launch`."""


def start_afresh(root: Path, specs: Mapping[str, Mapping[str, Any]], timeout_s: float) -> Mapping[str, str | None]:
    """Every job a new process with a new program."""
    return launch(root, list(specs), timeout_s)


class Submitter:
    """Starts jobs in one root folder."""

    def __init__(
        self, root: Path, instance: str, stop_grace_s: float, group_parent: Path | None, start: Launch = start_afresh
    ) -> None:
        self._root = root
        self._instance = instance
        self._stop_grace_s = stop_grace_s
        self._group_parent = group_parent
        self._start = start

    def submit(self, batch: Sequence[JobSpec], timeout_s: float, given_up: threading.Event) -> Submitted:
        """See `Backend.submit`. Raises when no job of the batch could be started; then nothing of it is left."""
        refused = {job.job_id: reason for job in batch if (reason := _why_refused(job, self._instance)) is not None}
        wanted = [job for job in batch if job.job_id not in refused]
        published = self.publish_all(wanted)
        held = {job.job_id for job in wanted if files.has_settled(self._root / job.job_id)}
        to_start = {job.job_id: self._make_spec(job) for job in wanted if job.job_id not in held}
        if given_up.is_set():
            raise BackendError("local: the call was given up before its jobs were started")
        problems = self._start(self._root, to_start, timeout_s) if to_start else {}
        started = {job_id for job_id, problem in problems.items() if problem is None}
        failed = {job_id: problem for job_id, problem in problems.items() if problem is not None}
        for job_id in published & failed.keys():
            withdraw(self._root, self._root / job_id)
        if failed and not started and not held:
            job_id, problem = next(iter(failed.items()))
            raise BackendError(f"local: none of {len(batch)} jobs could be started; {job_id}: {problem}")
        return Submitted(accepted=frozenset(held | started), refused=refused)

    def publish_all(self, batch: Iterable[JobSpec]) -> set[str]:
        """Give every job its folder; the ids of those that had none. Either all can be prepared or none is left."""
        root = self._root
        prepared: dict[str, Path] = {}
        try:
            for job in batch:
                if job.job_id not in prepared and not (root / job.job_id).exists():
                    prepared[job.job_id] = folders.prepare(root, job, self._make_spec(job))
            return {job_id for job_id, folder in prepared.items() if folders.publish(folder, root, job_id)}
        except OSError as error:
            for folder in prepared.values():
                shutil.rmtree(folder, ignore_errors=True)
            raise BackendError(f"local: records of new jobs cannot be written to {root}: {error.strerror}") from error

    def _make_spec(self, job: JobSpec) -> Mapping[str, Any]:
        """What the keeper needs to know (`shim.keeper`)."""
        return {
            "argv": list(job.argv),
            "env": make_environment(os.environ, job.env, job.job_id, self._root / job.job_id / files.PRIVATE),
            "folder": job.folder,
            "oom_score_adj": OOM_SCORES[job.identity.kind],
            "memory_bytes": job.identity.resources.memory_bytes,
            "grace_s": self._stop_grace_s,
            "cgroup": group_of(self._group_parent, job.job_id),
        }


def _why_refused(job: JobSpec, instance: str) -> Reason | None:
    """What no repetition would change."""
    if instance_of(job.job_id) != instance:
        return Reason("foreign-job", "Its id is not one of this installation.")
    if not job.argv:
        return Reason("nothing-to-run", "It names no program to run.")
    if any("/" in name or name in ("", ".", "..") for name in job.private_files):
        return Reason("bad-file-name", "A private file's name must be a plain name, without a folder.")
    return None


def make_environment(
    service: Mapping[str, str], variables: Mapping[str, str], job_id: str, private: Path
) -> dict[str, str]:
    """A small clean environment, the job's own variables, and the two by which it knows itself."""
    account = pwd.getpwuid(os.getuid())
    usual = {"PATH": os.defpath, "HOME": account.pw_dir, "USER": account.pw_name, "LANG": "C.UTF-8"}
    inherited = {name: service[name] for name in INHERITED if name in service}
    return {**usual, **inherited, **variables, MARK: job_id, "SAMPAN_JOB_DIR": str(private)}


def withdraw(root: Path, folder: Path) -> bool:
    """Remove the folder of a job that never started or has ended; False while it may run."""
    if files.read_record(folder / files.ENDED) is None and records.read_start(folder) is not None:
        observed, _ = look_at(folder)
        if observed is not None and observed.ended_at is None:
            return False
    return folders.remove_unless_running(root, folder)
