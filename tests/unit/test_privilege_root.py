"""The real thing: started as root through the real sudo by an unprivileged account, becoming real people.

Everything happens in mounts of their own (tests/support/run_as_machine.py): this machine's accounts stay as they are.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import sampan_hub
from sampan_hub.privilege.policy import POLICY_FILE
from sampan_hub.privilege.requests import Cancel, Log, Remove, Request, render_request
from sampan_hub.privilege.sudo import render_sudo_rule
from tests.support.run_as_machine import PEOPLE, PROGRAM, ROOM
from tests.support.slurm_requests import INSTANCE, NAME, STAGE, make_submit
from tests.support.slurm_standins import PROGRAMS, Standins

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become other people")
MACHINE = Path(__file__).parents[1] / "support" / "run_as_machine.py"
SETTINGS = {name: str(ROOM / "slurm" / name) for name in PROGRAMS} | {"caller": "sampan"}
ARRANGED = [
    {"write": POLICY_FILE, "text": json.dumps(SETTINGS)},
    {"write": "/etc/sudoers.d/sampan", "text": render_sudo_rule("sampan", str(PROGRAM)), "mode": 0o440},
]


def step(request: Request, by: str = "sampan", **more: Any) -> dict[str, Any]:
    verb, data = render_request(request)
    return {"verb": verb, "input": data.decode(), "by": by, **more}


class Seen:
    """What came of a plan."""

    def __init__(self, told: dict[str, Any], skipped: int) -> None:
        self.answers: list[dict[str, Any]] = told["answers"][skipped:]
        self.calls: list[dict[str, Any]] = told["calls"]
        self.homes: dict[str, list[int]] = told["homes"]

    def said(self, number: int) -> dict[str, Any]:
        return dict(json.loads(self.answers[number]["output"]))

    def codes(self) -> list[Any]:
        """Error codes in order; what is no answer shows as the exit code."""
        found: list[Any] = []
        for answer in self.answers:
            said = json.loads(answer["output"]) if answer["output"] else None
            found.append(answer["code"] if said is None else said.get("error", {}).get("code", "ok"))
        return found


def run(tmp_path: Path, plan: list[dict[str, Any]]) -> Seen:
    """Goes through the plan on an arranged machine."""
    source = Path(next(iter(sampan_hub.__path__)))
    Standins(tmp_path / "slurm")
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "/usr/bin/python3", "-I",
        MACHINE, source, tmp_path / "slurm"],
        input=json.dumps([*ARRANGED, *plan]), capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Seen(json.loads(done.stdout), len(ARRANGED))


def test_jobs_belong_to_the_people_they_are_for(tmp_path: Path) -> None:
    ben = f"{NAME}.7"
    seen = run(
        tmp_path,
        [
            step(make_submit("ana")),
            step(make_submit("ben", stage=ben)),
            step(make_submit("ana")),
            step(Log("ana", STAGE, "job.log", 5)),
            step(Log("ben", STAGE, "job.log", 5)),
            step(Cancel("ana", ("101",), f"sampan.{INSTANCE}.")),
            step(Remove("ben", (STAGE, ben))),
        ],
    )
    assert seen.codes() == ["ok"] * 7, seen.answers
    assert seen.said(0) == {"ok": {"slurm_job": 101, "was_there": False}}
    assert seen.said(2) == {"ok": {"slurm_job": 101, "was_there": True}}
    people = [(call["program"], call["uid"], call["gid"], set(call["groups"])) for call in seen.calls]
    ana, other = (PEOPLE["ana"], PEOPLE["ana"], {PEOPLE["ana"], 3001}), (PEOPLE["ben"], PEOPLE["ben"], {PEOPLE["ben"]})
    assert people == [("sbatch", *ana), ("sbatch", *other), ("squeue", *ana), ("scancel", *ana)]
    for call in seen.calls:
        assert set(call["env"]) == {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG"}
        assert "planted" not in json.dumps(call)
    owners = {path: where[0] for path, where in seen.homes.items()}
    for path, uid in owners.items():
        assert uid == PEOPLE[path.split("/")[0]], path
    for path in (f"ana/.sampan/jobs/{STAGE}", f"ana/.sampan/jobs/{STAGE}/start.py"):
        assert seen.homes[path][2] & 0o077 == 0
    assert f"ben/.sampan/jobs/{ben}" not in seen.homes


@pytest.mark.parametrize("user", ["root", "daemon", "nobody", "sampan", "daemonic", "ruler", "nobody-of-that-name"])
def test_nothing_is_done_as_the_system_or_as_nobody(tmp_path: Path, user: str) -> None:
    requests: list[Request] = [
        make_submit(user), Cancel(user, ("1",), f"sampan.{INSTANCE}."), Log(user, STAGE, "job.log", 1),
        Remove(user, (STAGE,)),
    ]  # fmt: skip
    seen = run(tmp_path, [step(request) for request in requests])
    assert seen.codes() == ["user"] * 4, seen.answers
    assert seen.calls == []
    assert set(seen.homes) == set(PEOPLE)


def test_sudo_lets_only_these_calls_through_and_only_from_there(tmp_path: Path) -> None:
    submit = step(make_submit("ana"))
    program = str(PROGRAM)
    seen = run(
        tmp_path,
        [
            submit | {"argv": [program]},
            submit | {"argv": [program, "submit", "extra"]},
            submit | {"argv": [program, "submit "]},
            submit | {"argv": [program, "--help"]},
            submit | {"argv": [f"{program}/../sampan-run-as", "submit"]},
            submit | {"argv": ["/bin/sh", "-c", "id"]},
            submit | {"argv": ["-u", "ana", program, "submit"]},
            submit | {"argv": ["PYTHONPATH=/planted", program, "submit"]},
            submit | {"by": "ana"},
            submit | {"by": "ben", "sudo": False},
            submit | {"by": "sampan", "sudo": False},
        ],
    )
    assert seen.codes() == [1] * 9 + ["installation"] * 2, seen.answers
    assert seen.calls == []
    assert set(seen.homes) == set(PEOPLE)


def test_only_the_named_caller_is_served(tmp_path: Path) -> None:
    rule = render_sudo_rule("ben", str(PROGRAM)).replace("SAMPAN_RUN_AS", "OTHER")
    plan = [
        {"write": "/etc/sudoers.d/other", "text": rule, "mode": 0o440},
        step(make_submit("ana"), by="ben"),
        step(make_submit("ana"), by="root", sudo=False),
    ]
    seen = run(tmp_path, plan)
    assert [json.loads(answer["output"]).get("error", {}).get("code") for answer in seen.answers[1:]] == [
        "installation",
        None,
    ]


LOOSE = [
    {"chmod": POLICY_FILE, "mode": 0o666},
    {"chown": POLICY_FILE, "uid": 990},
    {"chmod": "/etc/sampan", "mode": 0o777},
    {"write": POLICY_FILE, "text": '{"sbatch": "sbatch"}'},
    {"write": POLICY_FILE, "text": "{"},
    {"write": POLICY_FILE, "text": '{"min_uid": 0}'},
    {"chown": str(PROGRAM.parents[1] / "lib/sampan_hub/privilege/account.py"), "uid": 990},
    {"chmod": str(PROGRAM.parents[1] / "lib/sampan_hub/privilege"), "mode": 0o775},
    {"chown": str(PROGRAM.parents[1]), "uid": 990},
]


def test_what_others_than_root_could_change_is_not_trusted(tmp_path: Path) -> None:
    for number, loosened in enumerate(LOOSE):
        seen = run(tmp_path / str(number), [loosened, step(make_submit("ana"))])
        (answer,) = seen.answers[1:]
        assert json.loads(answer["output"])["error"]["code"] == "installation", (loosened, answer)
        assert seen.calls == []
        assert set(seen.homes) == set(PEOPLE)


def test_hostile_input_is_refused_before_anybody_is_looked_up(tmp_path: Path) -> None:
    submit = json.loads(step(make_submit("ana"))["input"])
    inputs = ["", "{", "[]", json.dumps(submit | {"uid": 0}), json.dumps(submit | {"user": "ana\n"}), "[" * 100_000]
    seen = run(tmp_path, [{"verb": "submit", "input": text, "by": "sampan"} for text in inputs])
    assert seen.codes() == ["request"] * len(inputs), seen.answers
    assert seen.calls == []
