"""The four verbs as done by whoever runs the tests, against stand-ins for Slurm's programs."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.privilege.account import Account
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.requests import Cancel, Log, Remove, Request
from sampan_hub.privilege.running import Deadline
from sampan_hub.privilege.verbs import Doing
from tests.support.slurm_requests import INSTANCE, NAME, STAGE, make_options, make_submit
from tests.support.slurm_standins import Standins
from tests.support.small_disk import may_mount, run_as_namespace_root, small_disk

PREFIX = f"sampan.{INSTANCE}."
LOST = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"


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


def test_a_log_is_its_end(ana: Person) -> None:
    ana.do(SUBMIT)
    log = ana.stage / "job.log"
    assert ana.do(Log("ana", STAGE, "job.log", 5)) == {"lines": [], "truncated": False}
    log.write_bytes(b"one\ntwo\n\xff\xfe three")
    assert ana.do(Log("ana", STAGE, "job.log", 5)) == {
        "lines": ["one", "two", "\ufffd\ufffd three"],
        "truncated": False,
    }
    assert ana.do(Log("ana", STAGE, "job.log", 1)) == {"lines": ["\ufffd\ufffd three"], "truncated": True}
    log.write_bytes(b"x" * 3_000_000)
    said = ana.do(Log("ana", STAGE, "job.log", 5))
    assert (len(said["lines"][0]), said["truncated"]) == (1 << 20, True)
    assert ana.do(Log("ana", f"{NAME}.9", "job.log", 5)) == {"lines": [], "truncated": False}


def test_a_log_never_leads_out_of_its_stage(ana: Person, tmp_path: Path) -> None:
    ana.do(SUBMIT)
    secret = tmp_path / "secret"
    secret.write_text("planted")
    log = ana.stage / "job.log"
    ask = Log("ana", STAGE, "job.log", 5)
    log.symlink_to(secret)
    assert "planted" not in ana.fail(ask).text
    log.unlink()
    os.mkfifo(log)
    assert ana.fail(ask).code == "stage"
    log.unlink()
    log.mkdir()
    assert ana.fail(ask).code == "stage"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "job.log").write_text("planted")
    (ana.jobs / f"{NAME}.8").symlink_to(elsewhere)
    assert "planted" not in ana.fail(Log("ana", f"{NAME}.8", "job.log", 5)).text


@pytest.mark.parametrize("what", [".sampan", ".sampan/jobs", f".sampan/jobs/{STAGE}"])
def test_links_in_the_home_folder_are_not_followed(ana: Person, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (ana.home / what).parent.mkdir(parents=True, exist_ok=True)
    (ana.home / what).symlink_to(elsewhere)
    assert ana.fail(SUBMIT).code == "home"
    assert ana.standins.calls() == []
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("what", ["start.py", "batch.json", "submitted.json", ".lock"])
def test_links_in_a_stage_are_not_followed(ana: Person, tmp_path: Path, what: str) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    ana.stage.mkdir(parents=True, mode=0o700)
    (ana.stage / what).symlink_to(target)
    if what in ("start.py", "batch.json"):
        ana.do(SUBMIT)
        assert not (ana.stage / what).is_symlink()
    else:
        assert ana.fail(SUBMIT).code == "home"
        assert ana.standins.calls() == []
    assert target.read_text() == "untouched"


@pytest.mark.parametrize("make", [lambda path: path.write_text(""), os.mkfifo], ids=["file", "pipe"])
def test_what_stands_in_the_way_is_named(ana: Person, make: Any) -> None:
    ana.jobs.mkdir(parents=True)
    make(ana.stage)
    failed = ana.fail(SUBMIT)
    assert failed.code == "home"
    assert str(ana.jobs) in failed.text


def test_a_missing_home_is_named(ana: Person) -> None:
    ana.home.rmdir()
    failed = ana.fail(SUBMIT)
    assert failed.code == "home"
    assert str(ana.home) in failed.text
    assert ana.do(Log("ana", STAGE, "job.log", 5)) == {"lines": [], "truncated": False}
    assert ana.do(Remove("ana", (STAGE,))) == {}


def test_folders_that_others_could_write_to_are_closed(ana: Person) -> None:
    ana.jobs.mkdir(parents=True)
    for folder in (ana.home / ".sampan", ana.jobs):
        folder.chmod(0o777)
    ana.do(SUBMIT)
    for folder in (ana.home / ".sampan", ana.jobs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to give a folder to somebody else")
def test_a_folder_of_somebody_else_is_not_used(ana: Person) -> None:
    ana.jobs.mkdir(parents=True)
    os.chown(ana.jobs, 65534, 65534)
    failed = ana.fail(SUBMIT)
    assert failed.code == "home"
    assert "somebody else" in failed.text
    assert ana.standins.calls() == []


def test_a_full_home_is_told_as_such_and_can_be_retried(tmp_path: Path, standins: Standins) -> None:
    if not may_mount():
        run_as_namespace_root(f"{__file__}::{test_a_full_home_is_told_as_such_and_can_be_retried.__name__}")
        return
    with small_disk(tmp_path / "full", "256k") as home:
        ana = Person(home, standins)
        big = make_submit("ana", files={"start.py": b"x" * 400_000})
        failed = ana.fail(big)
        assert failed.code == "home_full"
        assert failed.text == f"Your home folder is full ({home}): make room, or ask an administrator for more."
        assert standins.calls("sbatch") == []
        assert ana.do(SUBMIT) == {"slurm_job": 101, "was_there": False}


def test_what_is_forgotten_is_removed_and_nothing_else(ana: Person, tmp_path: Path) -> None:
    ana.do(SUBMIT)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "thesis.tex").write_text("years of work")
    deep = ana.stage / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "c").write_text("")
    (ana.stage / "link").symlink_to(kept)
    (deep / "link").symlink_to(kept / "thesis.tex")
    (ana.jobs / f"{NAME}.8").symlink_to(kept)
    (ana.jobs / f"{NAME}.9").mkdir()
    assert ana.do(Remove("ana", (STAGE, f"{NAME}.8", f"{NAME}.7"))) == {}
    assert [path.name for path in ana.jobs.iterdir()] == [f"{NAME}.9"]
    assert (kept / "thesis.tex").read_text() == "years of work"
    assert ana.standins.calls("scancel") == []
