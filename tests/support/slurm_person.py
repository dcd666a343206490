"""Somebody with a home folder, on whose behalf the verbs of `sampan-run-as` are done by whoever runs the tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.privilege.account import Account
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.requests import Request
from sampan_hub.privilege.running import Deadline
from sampan_hub.privilege.verbs import Doing
from tests.support.slurm_requests import STAGE
from tests.support.slurm_standins import Standins


class Person:
    """Somebody with a home folder on a machine with Slurm."""

    def __init__(self, home: Path, standins: Standins, limit_s: float = 30, **policy: Any) -> None:
        self.home = home
        self.standins = standins
        self.account = Account("ana", os.getuid(), os.getgid(), str(home), "/bin/bash")
        self.policy = standins.policy(**policy)
        self.limit_s = limit_s
        self.jobs = home / ".sampan" / "jobs"
        self.stage = self.jobs / STAGE

    def do(self, request: Request) -> dict[str, Any]:
        return Doing(self.policy, self.account, Deadline(self.limit_s)).do(request)

    def fail(self, request: Request) -> RunAsError:
        with pytest.raises(RunAsError) as failed:
            self.do(request)
        return failed.value
