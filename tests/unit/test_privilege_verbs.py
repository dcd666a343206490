"""Submit and cancel as done by whoever runs the tests, against stand-ins for Slurm's programs."""

from __future__ import annotations

import fcntl
import json
import stat
import time
from pathlib import Path

import pytest

from sampan_hub.privilege.requests import Cancel
from tests.support.slurm_person import Person
from tests.support.slurm_requests import INSTANCE, NAME, make_options, make_submit
from tests.support.slurm_standins import Standins

PREFIX = f"sampan.{INSTANCE}."
LOST = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"


@pytest.fixture
def standins(tmp_path: Path) -> Standins:
    return Standins(tmp_path / "slurm")


@pytest.fixture
def ana(tmp_path: Path, standins: Standins) -> Person:
    home = tmp_path / "home"
    home.mkdir()
    return Person(home, standins)


SUBMIT = make_submit("ana")


def test_a_stage_is_private_and_sbatch_gets_what_was_asked(ana: Person) -> None:
    assert ana.do(SUBMIT) == {"slurm_job": 101, "was_there": False}
    for folder in (ana.home / ".sampan", ana.jobs, ana.stage):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in ana.stage.iterdir()}
    assert files == dict.fromkeys(["start.py", "batch.json", "submitted.json", ".lock"], 0o600)
    assert json.loads((ana.stage / "submitted.json").read_text()) == {"slurm_job": 101}
    (call,) = ana.standins.calls()
    assert call["program"] == "sbatch"
    assert call["stdin"] == f"#!/bin/sh\nexec /usr/bin/python3 -I -S {ana.stage}/start.py\n"
    assert call["cwd"] == "/"
    assert set(call["env"]) == {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG"}
    assert call["env"]["HOME"] == str(ana.home)
    assert f"--output={ana.stage}/job.log" in call["argv"]


def test_asked_again_it_submits_nothing(ana: Person) -> None:
    ana.do(SUBMIT)
    assert ana.do(SUBMIT) == {"slurm_job": 101, "was_there": True}
    assert len(ana.standins.calls()) == 1


def test_stages_are_apart(ana: Person) -> None:
    ana.do(SUBMIT)
    array = make_submit("ana", make_options(tasks=(500, 501)), stage=f"{NAME}.500")
    assert ana.do(array) == {"slurm_job": 102, "was_there": False}
    assert f"--output={ana.jobs}/{NAME}.500/%a.log" in ana.standins.calls()[-1]["argv"]
    (ana.jobs / f"{NAME}.500" / "submitted.json").unlink()
    assert ana.do(array) == {"slurm_job": 102, "was_there": True}


def test_a_lost_reply_is_found_in_the_queue(ana: Person) -> None:
    ana.standins.plan("sbatch", code=1, err=LOST, arrives=True)
    assert ana.fail(SUBMIT).code == "unreachable"
    assert ana.do(SUBMIT) == {"slurm_job": 101, "was_there": True}
    assert len(ana.standins.calls("sbatch")) == 1
    assert ana.do(SUBMIT) == {"slurm_job": 101, "was_there": True}
    assert len(ana.standins.calls("squeue")) == 1


def test_a_reply_lost_before_it_took_effect_is_submitted_again(ana: Person) -> None:
    ana.standins.plan("sbatch", code=1, err=LOST)
    ana.fail(SUBMIT)
    (ana.stage / "batch.json").write_text("half of")
    ana.standins.plan("sbatch")
    assert ana.do(SUBMIT) == {"slurm_job": 101, "was_there": False}
    assert (ana.stage / "batch.json").read_bytes() == SUBMIT.files["batch.json"]


@pytest.mark.parametrize("has_accounting", [True, False])
def test_a_job_that_has_ended_is_found_only_in_accounting(
    tmp_path: Path, standins: Standins, has_accounting: bool
) -> None:
    ana = Person(tmp_path, standins, accounting=has_accounting)
    ana.standins.plan("sbatch", code=1, err=LOST, arrives=True)
    ana.fail(SUBMIT)
    ana.standins.end(101)
    ana.standins.plan("sbatch")
    assert ana.do(SUBMIT) == {"slurm_job": 101 if has_accounting else 102, "was_there": has_accounting}
    assert len(standins.calls("sacct")) == has_accounting
    for call in standins.calls("sacct"):
        assert f"--name={NAME}" in call["argv"]


@pytest.mark.parametrize("program", ["squeue", "sacct"])
def test_nothing_is_submitted_while_it_cannot_be_told_whether_it_was(
    tmp_path: Path, standins: Standins, program: str
) -> None:
    ana = Person(tmp_path, standins, accounting=True)
    standins.plan("sbatch", code=1, err=LOST)
    ana.fail(SUBMIT)
    standins.plan(program, code=1, err=f"{program}: error: Unable to contact slurm controller (connect failure)\n")
    assert ana.fail(SUBMIT).code == "unreachable"
    standins.plan(program, out="garbage\n")
    assert ana.fail(SUBMIT).code == "failed"
    assert len(standins.calls("sbatch")) == 1


def test_an_unreadable_record_is_no_record(ana: Person) -> None:
    ana.do(SUBMIT)
    for text in ("", "{", '{"slurm_job": "101"}', '{"slurm_job": -1}', '{"slurm_job": true}', "[]", "[" * 5000):
        (ana.stage / "submitted.json").write_text(text)
        assert ana.do(SUBMIT) == {"slurm_job": 101, "was_there": True}
    assert len(ana.standins.calls("sbatch")) == 1


def test_a_refusal_can_be_repeated(ana: Person) -> None:
    ana.standins.plan("sbatch", code=1, err="sbatch: error: Batch job submission failed: Invalid qos specification\n")
    for _ in range(2):
        assert ana.fail(SUBMIT).code == "refused"


def test_a_program_that_hangs_is_ended(ana: Person) -> None:
    ana.limit_s = 1.0
    ana.standins.plan("sbatch", hangs=True)
    failed = ana.fail(SUBMIT)
    assert (failed.code, failed.text) == ("unreachable", "sbatch did not answer in time.")
    (call,) = ana.standins.calls()
    assert not Path(f"/proc/{call['pid']}").exists()


def test_a_program_that_is_not_there_is_named(ana: Person) -> None:
    ana.policy = ana.policy._replace(sbatch="/nonexistent/sbatch")
    failed = ana.fail(SUBMIT)
    assert (failed.code, failed.text) == (
        "installation",
        "/nonexistent/sbatch cannot be run: No such file or directory.",
    )


def test_two_calls_do_not_work_on_one_stage(ana: Person) -> None:
    ana.do(SUBMIT)
    ana.limit_s = 0.2
    with (ana.stage / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ana.fail(SUBMIT).code == "busy"


def test_nobody_holds_a_call_up_with_a_lock_of_their_own(ana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan_hub.privilege.stages._LOCK_WAIT_S", 0.1)
    ana.do(SUBMIT)
    begun_s = time.monotonic()
    with (ana.stage / ".lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert ana.fail(SUBMIT).code == "busy"
    assert time.monotonic() - begun_s < ana.limit_s / 2


def test_cancel_reaches_only_open_jobs_that_are_ours(ana: Person) -> None:
    standins = ana.standins
    plain, mine, ended = standins.add(NAME), standins.add("simulation"), standins.add(NAME, is_open=False)
    array, other = standins.add(NAME, tasks="0-3"), standins.add(NAME.replace(INSTANCE, "zzzzzzzz"))
    asked = [str(job) for job in (plain, mine, ended, other, 999)] + [f"{array}_1", f"{array}_7", f"{mine}_0"]
    assert ana.do(Cancel("ana", tuple(asked), PREFIX)) == {"cancelled": [str(plain), f"{array}_1"]}
    assert [call["argv"] for call in standins.calls("scancel")] == [[str(plain), f"{array}_1"]]
    assert ana.do(Cancel("ana", (str(mine), str(ended)), PREFIX)) == {"cancelled": []}
    assert ana.do(Cancel("ana", (), PREFIX)) == {"cancelled": []}
    assert len(standins.calls("scancel")) == 1


def test_a_cancel_that_did_not_arrive_says_so(ana: Person) -> None:
    job = ana.standins.add(NAME)
    for program in ("squeue", "scancel"):
        ana.standins.plan(program, code=1, err=f"{program}: error: Socket timed out on send/recv operation\n")
        assert ana.fail(Cancel("ana", (str(job),), PREFIX)).code == "unreachable"
