"""Job folders: made whole in one step, thrown away in one step, never followed out of their root."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import JobSpec
from sampan_hub.backends.local.records import write_identity
from sampan_hub.backends.local.shim import files
from sampan_hub.jobs.keys import instance_of

NEW = ".new-"
OLD = ".old-"
"""Folders under construction and being removed; what a killed service leaves of them is swept later."""


def job_folder(root: Path, instance: str, job_id: str) -> Path | None:
    """The folder of one of our jobs; None for ids that are not ours and for anything that is no real folder."""
    folder = root / job_id
    if instance_of(job_id) != instance or folder.is_symlink() or not folder.is_dir():
        return None
    return folder


def prepare(root: Path, job: JobSpec, spec: Mapping[str, Any]) -> Path:
    """The complete folder under a name that nobody looks at. Raises OSError with nothing left behind."""
    folder = root / f"{NEW}{job.job_id}-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700)
    try:
        private = folder / files.PRIVATE
        private.mkdir(mode=0o700)
        for name, content in job.private_files.items():
            files.write_file(private / name, content)
        files.write_file(folder / files.SPEC, json.dumps(spec).encode())
        files.write_file(folder / files.IDENTITY, json.dumps(write_identity(job.identity)).encode(), durable=True)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def publish(prepared: Path, root: Path, job_id: str) -> bool:
    """Give the folder its name; False (and the preparation thrown away) when that job is already here."""
    try:
        prepared.rename(root / job_id)
    except OSError:
        shutil.rmtree(prepared, ignore_errors=True)
        if not (root / job_id).exists():
            raise
        return False
    return True


def remove_unless_running(root: Path, folder: Path) -> bool:
    """Remove the folder of a job that never started or has ended; False when its keeper still holds it.

    Under its lock, so that no keeper can begin in it while it goes.
    """
    lock = files.take_lock(folder)
    if lock is None:
        return False
    try:
        grave = root / f"{OLD}{folder.name}-{secrets.token_hex(4)}"
        folder.rename(grave)
    finally:
        os.close(lock)
    shutil.rmtree(grave, ignore_errors=True)
    return True
