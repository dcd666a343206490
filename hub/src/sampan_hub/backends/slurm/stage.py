"""The files of a stage: what its tasks run (`batch.json`) and the program that starts them (`start.py`). Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from sampan_hub.backends.base import JobSpec

ALONE = "alone"
"""The key of a job that is no array."""
_MARK = "\0job\0"
_BY_LAUNCHER = frozenset({"SAMPAN_JOB", "SAMPAN_JOB_DIR", "SAMPAN_RUN"})


class Unfit(ValueError):
    """The job cannot be written down for another machine; the message says why."""


def make_files(specs: Sequence[JobSpec], first: int | None) -> Mapping[str, bytes]:
    """What travels: `specs` are tasks `first`, `first + 1`, …, or one job that is no array."""
    return {"batch.json": make_batch(specs, first), "start.py": read_launcher()}


def make_batch(specs: Sequence[JobSpec], first: int | None) -> bytes:
    """Programs that differ in nothing but the job's own id are written once: a thousand workers are one."""
    programs: dict[str, int] = {}
    tasks = {}
    for place, spec in enumerate(specs):
        program = json.dumps(_program(spec), separators=(",", ":"), sort_keys=True)
        number = programs.setdefault(program, len(programs))
        tasks[ALONE if first is None else str(first + place)] = [spec.job_id, number]
    content = {"programs": [json.loads(program) for program in programs], "tasks": tasks}
    return json.dumps(content, separators=(",", ":")).encode()


def _program(spec: JobSpec) -> dict[str, Any]:
    job_id = spec.job_id

    def common(text: str) -> str:
        if "\0" in text:
            raise Unfit("A text of the job has a character that no program can take (NUL).")
        return text.replace(job_id, _MARK)

    files = {
        name: base64.b64encode(content.replace(job_id.encode(), _MARK.encode())).decode()
        for name, content in spec.private_files.items()
    }
    return {
        "argv": [common(part) for part in spec.argv],
        "env": {name: common(value) for name, value in spec.env.items() if name not in _BY_LAUNCHER},
        "folder": common(spec.folder),
        "files": files,
    }


@cache
def read_launcher() -> bytes:
    """The program that starts a task on its node."""
    return resources.files("sampan_hub.backends.slurm").joinpath("start.py").read_bytes()
