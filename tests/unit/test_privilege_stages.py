"""The folders of jobs: their logs, links in them, full and missing homes, and their removal."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.privilege.requests import Log, Remove
from tests.support.slurm_person import Person
from tests.support.slurm_requests import NAME, STAGE, make_submit
from tests.support.slurm_standins import Standins
from tests.support.small_disk import may_mount, run_as_namespace_root, small_disk


@pytest.fixture
def standins(tmp_path: Path) -> Standins:
    return Standins(tmp_path / "slurm")


@pytest.fixture
def ana(tmp_path: Path, standins: Standins) -> Person:
    home = tmp_path / "home"
    home.mkdir()
    return Person(home, standins)


SUBMIT = make_submit("ana")


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
