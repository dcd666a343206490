"""Start the keepers of a batch: one short-lived process forks them all, and each says when its job is on record."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sampan_hub.backends.base import BackendError

SHIM = Path(__file__).parent / "shim"


def launch(root: Path, job_ids: Sequence[str], timeout_s: float) -> Mapping[str, str | None]:
    """Per job that answered: None when its start is on record, else what kept it from starting.

    A job without an answer may still start, until `timeout_s` from now and no later: keepers know the deadline.
    """
    deadline_s = time.clock_gettime(time.CLOCK_BOOTTIME) + timeout_s
    request = {"root": str(root), "keys": list(job_ids), "deadline": deadline_s}
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(SHIM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"LANG": "C.UTF-8"},  # keepers outlive the service: nothing of its environment goes with them
        cwd="/",
        start_new_session=True,
    ) as process:
        try:
            answers, _ = process.communicate(json.dumps(request).encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            process.kill()  # it has forked its keepers long ago, or never will
            raise BackendError(f"local: {len(job_ids)} jobs were not all started within {timeout_s:g} s") from error
    return parse_answers(answers)


def parse_answers(answers: bytes) -> Mapping[str, str | None]:
    """What keepers wrote (`shim.launch`): one line per job."""
    return {answer["job"]: answer["problem"] for answer in map(json.loads, answers.splitlines())}
