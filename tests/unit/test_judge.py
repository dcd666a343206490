"""The judge itself must be able to find each fault, or its silence means nothing."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.judge.processes import Process, processes_with_key
from tests.judge.verdict import judge

KEY = "abcdefgh.aaaaaaaaaaaaaaaa"
WORKER = ("python", "-m", "sampan.worker")


def test_all_is_well() -> None:
    verdict = judge([Process(1, KEY, WORKER), Process(2, KEY, ("sleep",))], {KEY: "running"}, frozenset({KEY}))
    assert verdict.counts == (0, 0, 0)


def test_it_finds_an_orphan() -> None:
    assert judge([Process(1, KEY, ("sleep",))], {}, frozenset()).orphans == {KEY}


def test_it_finds_a_duplicate() -> None:
    twice = [Process(1, KEY, WORKER), Process(2, KEY, WORKER)]
    assert judge(twice, {KEY: "running"}, frozenset({KEY})).duplicates == {KEY}


def test_it_finds_a_false_death() -> None:
    assert judge([Process(1, KEY, WORKER)], {KEY: "ended"}, frozenset({KEY})).false_deaths == {KEY}


def test_it_sees_a_real_process_and_not_a_dead_one() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        env={**os.environ, "SAMPAN_JOB": KEY},
        stdin=subprocess.PIPE,
    )
    try:
        assert [p.pid for p in processes_with_key("abcdefgh") if p.pid == process.pid] == [process.pid]
        assert processes_with_key("zzzzzzzz") == []
    finally:
        process.kill()
        process.communicate()
    assert all(p.pid != process.pid for p in processes_with_key("abcdefgh"))
