"""Whose process is it: records survive neither a reused pid nor a reboot, and one name is held once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sampan_hub.cli.supervise.launch import ALREADY_RUNNING, record_path
from sampan_hub.cli.supervise.records import is_alive, make_own_record, read_alive, read_record, write_record
from tests.support.installation import wait_until

LAUNCH = [sys.executable, "-P", "-m", "sampan_hub.cli.supervise.launch"]


def test_the_own_record_is_alive() -> None:
    assert is_alive(make_own_record("orders"))


def test_a_reused_pid_is_another_process() -> None:
    own = make_own_record("orders")
    assert not is_alive(replace(own, start_ticks=own.start_ticks + 1))


def test_a_reboot_ends_everything() -> None:
    assert not is_alive(replace(make_own_record("orders"), boot_id="another"))


def test_a_process_that_waits_to_be_reaped_has_ended(tmp_path: Path) -> None:
    child = subprocess.Popen([*LAUNCH, str(tmp_path), "x", "o", "--", "true"])
    try:
        record = wait_until(lambda: read_record(tmp_path / "x.json"), 10, "the record")
        wait_until(lambda: not is_alive(record), 10, "the end of `true`")
    finally:
        child.wait()


def test_records_are_private_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "hub.json"
    write_record(path, make_own_record("orders"))
    assert read_record(path) == make_own_record("orders")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "more": 2}', "7"])
def test_what_is_no_record_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "hub.json"
    path.write_text(content)
    assert read_record(path) is None
    assert read_alive(path) is None


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*LAUNCH, str(tmp_path), "hub", "o1", "--", "sleep", "60"])
    wait_until(lambda: read_alive(record_path(tmp_path, "hub")), 10, "the record")
    yield process
    process.kill()
    process.wait()


def test_the_record_names_the_process_that_argv_became(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    record = read_alive(record_path(tmp_path, "hub"))
    assert record is not None
    assert (record.pid, record.orders) == (sleeper.pid, "o1")
    wait_until(lambda: b"sleep" in Path(f"/proc/{sleeper.pid}/cmdline").read_bytes()[:6], 10, "the exec")
    assert is_alive(record)


def test_a_name_is_held_by_one_process(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    second = subprocess.run([*LAUNCH, str(tmp_path), "hub", "o2", "--", "sleep", "60"], timeout=30)
    assert second.returncode == ALREADY_RUNNING
    record = read_alive(record_path(tmp_path, "hub"))
    assert record is not None
    assert record.orders == "o1"
    sleeper.kill()
    sleeper.wait()
    third = subprocess.run([*LAUNCH, str(tmp_path), "hub", "o3", "--", "true"], timeout=30)
    assert third.returncode == 0


def test_our_own_pid_is_what_is_recorded() -> None:
    assert make_own_record("x").pid == os.getpid()
