"""From one request on standard input to one keeper per job, each on its own once it is forked.

Request (one JSON object, then end of file): `{"root": FOLDER, "keys": [KEY…], "deadline": SECONDS SINCE BOOT}`.
Answers: one line per job, `{"job": KEY, "problem": null}` once its start is on record, else why it has none.
A request that was cut short starts nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from . import files
from .becoming import Program
from .ending import NEVER_STARTED
from .keeper import Keeper, become_keeper

LOOK_AGAIN_S = 0.02


def main(program: Program | None = None) -> None:
    """Serve one request. Jobs that fit `program`, which this process has imported, become it without an exec."""
    with open(0, "rb", closefd=False) as stream:
        request = json.loads(stream.read())
    for key in request["keys"]:
        try:
            pid = os.fork()
        except OSError as error:
            _answer(key, f"no process could be made for it: {error.strerror}")
            continue
        if pid == 0:
            _keep(Path(request["root"]) / key, float(request["deadline"]), program)
            os._exit(0)


def _answer(key: str, problem: str | None) -> None:
    """One write, shorter than a pipe takes as a whole; nobody listening is no reason to stop."""
    try:
        os.write(1, json.dumps({"job": key, "problem": problem}).encode() + b"\n")
    except OSError:
        return


def _keep(folder: Path, deadline_s: float, program: Program | None) -> None:
    become_keeper()
    _detach(folder, 0, 2)
    try:
        lock = _wait_for_lock(folder, deadline_s)
        keeper = _start(folder, program) if lock is not None else None
    except (OSError, files.UnreadableRecord, KeyError, ValueError) as error:
        _answer(folder.name, f"{type(error).__name__}: {error}")
        return
    _answer(folder.name, None if files.has_settled(folder) else "its time to start was over")
    _detach(folder, 1)
    if keeper is not None:
        _record_end(folder, keeper.watch().as_record())


def _wait_for_lock(folder: Path, deadline_s: float) -> int | None:
    """The lock of a job that was not started; None when it was, or when it is too late to start it."""
    while time.clock_gettime(time.CLOCK_BOOTTIME) < deadline_s:
        lock = files.take_lock(folder)
        if files.has_settled(folder):
            return None
        if lock is not None:
            return lock
        time.sleep(LOOK_AGAIN_S)
    return None


def _start(folder: Path, program: Program | None) -> Keeper | None:
    if (folder / files.CANCEL).exists():
        files.write_end(folder, NEVER_STARTED.as_record())
        return None
    spec = files.read_record(folder / files.SPEC)
    if spec is None:
        raise files.UnreadableRecord(f"{folder / files.SPEC} is missing")
    keeper = Keeper(folder, spec, is_forked=program is not None and program.fits(spec))
    keeper.start()
    return keeper


def _detach(folder: Path, *descriptors: int) -> None:
    """Let go of what the service holds the other end of; complaints of the keeper itself go to the job's folder."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
    for descriptor in descriptors:
        target = os.open(folder / "keeper.log", flags, 0o600) if descriptor == 2 else os.open("/dev/null", os.O_RDWR)
        os.dup2(target, descriptor)
        os.close(target)


def _record_end(folder: Path, record: dict[str, Any]) -> None:
    """The one thing this process is for: repeated until it is written, or until there is no folder left."""
    shutil.rmtree(folder / files.PRIVATE, ignore_errors=True)  # its credentials are of no more use
    while folder.exists():
        try:
            files.write_end(folder, record)
        except OSError:
            time.sleep(1)
        else:
            return
