"""The four verbs, done as the person that this process is by now."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import Any

from sampan_hub.privilege import commands, outcomes, stages
from sampan_hub.privilege.account import Account
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.policy import Policy
from sampan_hub.privilege.requests import Cancel, Log, Remove, Request, Submit
from sampan_hub.privilege.running import Deadline, run_program

_CLOCK_SLACK_S = 3600


class Doing:
    """One call on behalf of one person, with all that it needs."""

    def __init__(self, policy: Policy, account: Account, deadline: Deadline) -> None:
        self._policy = policy
        self._environment = commands.make_environment(policy, account)
        self._root = stages.make_root(policy, account)
        self._deadline = deadline

    def do(self, request: Request) -> dict[str, Any]:
        """What was done. RunAsError says why it was not."""
        if isinstance(request, Submit):
            return self._submit(request)
        if isinstance(request, Cancel):
            return self._cancel(request)
        if isinstance(request, Log):
            lines, is_cut = stages.read_tail(self._root, request.stage, request.file, request.lines)
            return {"lines": lines, "truncated": is_cut}
        return self._remove(request)

    def _run(self, argv: Sequence[str], given: bytes = b"") -> outcomes.Done:
        return run_program(argv, self._environment, given, self._deadline)

    def _submit(self, request: Submit) -> dict[str, Any]:
        """At most one job for one stage, however often and whenever before it was asked for and broken off."""
        folder = f"{self._root.path}/{request.stage}"
        with (
            stages.made_stage(self._root, request.stage) as (stage, is_new),
            stages.locked(stage, self._deadline) as made_at,
        ):
            job = stages.read_record(stage)
            if job is not None:
                return {"slurm_job": job, "was_there": True}
            job = None if is_new else self._find(request.options.name, folder, made_at)
            was_there = job is not None
            if job is None:
                stages.write_files(stage, request.files)
                script = commands.make_script(request.script_python, folder)
                argv = commands.make_submit_argv(self._policy, folder, request.options)
                job = outcomes.read_submitted(self._run(argv, script))
            with contextlib.suppress(OSError):  # the job is in the queue: without a record the queue is asked again
                stages.write_record(stage, job)
            return {"slurm_job": job, "was_there": was_there}

    def _find(self, name: str, folder: str, made_at: float) -> int | None:
        """The job that an earlier call put into the queue without living to note it."""
        found = outcomes.read_found("squeue", self._run(commands.make_find_argv(self._policy, name)), folder)
        if found is not None or not self._policy.accounting:
            return found
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(made_at - _CLOCK_SLACK_S))
        return outcomes.read_found("sacct", self._run(commands.make_find_ended_argv(self._policy, name, since)), folder)

    def _cancel(self, request: Cancel) -> dict[str, Any]:
        """Only what is the person's own, ours by name or folder, and open now reaches scancel."""
        if not request.slurm_jobs:
            return {"cancelled": []}
        said = self._run(commands.make_open_argv(self._policy))
        still_open = outcomes.read_open(said, request.name_prefix, self._root.path)
        chosen = outcomes.choose_to_cancel(request.slurm_jobs, still_open)
        if chosen:
            outcomes.check_cancelled(self._run(commands.make_cancel_argv(self._policy, chosen)))
        return {"cancelled": chosen}

    def _remove(self, request: Remove) -> dict[str, Any]:
        for stage in request.stages:
            if self._deadline.left_s == 0:
                raise RunAsError("busy", "There was no time to remove all of these folders: ask again.")
            stages.remove_stage(self._root, stage)
        return {}


def do_as_this_process(policy: Policy, account: Account, request: Request, deadline: Deadline) -> dict[str, Any]:
    """Does it as the current user: private files, no environment but the fixed one, no folder held."""
    os.umask(0o077)
    os.environ.clear()
    os.chdir("/")
    return Doing(policy, account, deadline).do(request)
