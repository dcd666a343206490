"""The unprivileged side of `sampan-run-as`: every change to Slurm goes through one short-lived child process.

The child becomes the person (through sudo), or runs as this very account where everything does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from sampan_hub.backends.base import BackendError, LogTail
from sampan_hub.privilege.policy import Policy, render_policy
from sampan_hub.privilege.requests import (
    MAX_JOBS,
    MAX_LOG_LINES,
    MAX_STAGES,
    Cancel,
    Log,
    Remove,
    Request,
    Submit,
    render_request,
)

CALL_LIMIT_S = 75.0
"""After this long no call can take effect any more: the program ends itself, and what it started, before."""

_AT_ONCE = 8
_AT_ONCE_OF_ONE = 2
"""Calls as the same person: whoever has a home that hangs must not take everybody's turns."""
_END_WAIT_S = 2.0
SUDO = Path("/usr/bin/sudo")
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_FINAL = frozenset({"request", "user", "home", "home_full", "refused"})
"""Errors after which asking for the same again is pointless, and nothing was submitted."""


class ActingRefused(BackendError):
    """It was looked at and will not be done: by Slurm, or because of the person's account or folder.

    `text` is one sentence for that person; nothing was put into the queue.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class ActingUnreachable(BackendError):
    """Slurm gave the program no answer: nothing is known, and to ask for the same again is safe and may help."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a submit came to. `was_there`: an earlier call had put this very stage into the queue."""

    slurm_job: int
    was_there: bool


class Acting:
    """Submits, cancels, reads and removes as the people the jobs belong to.

    All methods are bounded in time and cancellable. BackendError: nothing is known; ActingRefused: it will not be done.
    """

    def __init__(self, command: Sequence[str], arguments: Sequence[str] = (), limit_s: float = CALL_LIMIT_S) -> None:
        """`command`, then the verb, then `arguments` is what is run. Use the class methods."""
        self._command = tuple(command)
        self._arguments = tuple(arguments)
        self._limit_s = limit_s
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._turns_of: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @classmethod
    def through_sudo(cls, run_as: Path, sudo: Path = SUDO, limit_s: float = CALL_LIMIT_S) -> Acting:
        """As everybody for themselves, through the privileged program at that path."""
        return cls((str(sudo), "-n", "--", str(run_as)), (), limit_s)

    @classmethod
    def as_myself(cls, policy: Policy, limit_s: float = CALL_LIMIT_S) -> Acting:
        """Everything as the account of this process."""
        command = (sys.executable, "-I", "-m", "sampan_hub.privilege.own")
        return cls(command, (render_policy(policy).decode(),), limit_s)

    async def submit(self, request: Submit) -> Started:
        """Puts the stage into the queue; once, however often it is asked."""
        said = await self._call(request)
        slurm_job, was_there = said.get("slurm_job"), said.get("was_there")
        if type(slurm_job) is not int or type(was_there) is not bool:
            raise BackendError("sampan-run-as submit gave an answer that is not understood")
        return Started(slurm_job, was_there)

    async def cancel(self, user: str, slurm_jobs: Sequence[str], name_prefix: str) -> None:
        """Asks Slurm to end these jobs and tasks (`123`, `123_4`): those that are the user's, named so, and open."""
        for start in range(0, len(slurm_jobs), MAX_JOBS):
            await self._call(Cancel(user, tuple(slurm_jobs[start : start + MAX_JOBS]), name_prefix))

    async def log(self, user: str, stage: str, file: str, lines: int) -> LogTail:
        """The end of a stage's output file; empty where there is none."""
        said = await self._call(Log(user, stage, file, max(1, min(lines, MAX_LOG_LINES))))
        found, is_cut = said.get("lines"), said.get("truncated")
        if type(found) is not list or type(is_cut) is not bool:
            raise BackendError("sampan-run-as log gave an answer that is not understood")
        return LogTail(tuple(str(line) for line in found), is_cut)

    async def remove_stages(self, user: str, stages: Sequence[str]) -> None:
        """Removes what is kept of these stages; missing ones are no error."""
        for start in range(0, len(stages), MAX_STAGES):
            await self._call(Remove(user, tuple(stages[start : start + MAX_STAGES])))

    async def _call(self, request: Request) -> dict[str, Any]:
        verb, data = render_request(request)
        async with self._turns_of.setdefault(request.user, asyncio.Semaphore(_AT_ONCE_OF_ONE)), self._turns:
            output, errors = await self._run(verb, data)
        return _read_answer(verb, output, errors)

    async def _run(self, verb: str, data: bytes) -> tuple[bytes, bytes]:
        argv = (*self._command, verb, *self._arguments)
        try:
            child = await asyncio.create_subprocess_exec(
                *argv,
                env=_ENVIRONMENT,
                cwd="/",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise BackendError(f"{argv[0]} cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(self._limit_s):
                return await child.communicate(data)
        except TimeoutError:
            raise BackendError(f"sampan-run-as {verb} did not answer within {self._limit_s:g} s") from None
        finally:
            if child.returncode is None:
                await _end(child)


async def _end(child: asyncio.subprocess.Process) -> None:
    """Ends the child. One that sudo made root's cannot be: it keeps its own time limit, which is shorter than ours."""
    for send in (child.terminate, child.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError, TimeoutError):
            send()
            async with asyncio.timeout(_END_WAIT_S):
                await child.wait()
                return


def _read_answer(verb: str, output: bytes, errors: bytes) -> dict[str, Any]:
    """What was done; raises what was told as error, and for anything that is no answer."""
    try:
        said = json.loads(output)
    except ValueError:
        said = None
    if type(said) is dict and type(said.get("ok")) is dict:
        return dict(said["ok"])
    error = said.get("error") if type(said) is dict else None
    if type(error) is not dict:
        told = errors.decode(errors="replace").strip().splitlines()
        raise BackendError(
            f"sampan-run-as {verb} gave no answer ({told[-1] if told else 'and said nothing'}): "
            f"is the sudo rule that `sampan systemd` prints in place?"
        )
    code, text = str(error.get("code")), str(error.get("text"))
    if code in _FINAL:
        raise ActingRefused(code, text)
    if code == "unreachable":
        raise ActingUnreachable(f"sampan-run-as {verb}: {text}")
    raise BackendError(f"sampan-run-as {verb}: {text}")
