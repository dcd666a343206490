"""The judge of faults on Slurm finds each kind of fault: without that its silence says nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sampan_hub.jobs.keys import make_job_id
from tests.slurm.faults.judge import Judge, Verdict, id_of

INSTANCE, BATCH = "abcdefgh", "b" * 24
NAME = f"sampan.{INSTANCE}.{BATCH}.0"
JOB = make_job_id(INSTANCE, BATCH, 2)


def make_judge(queue: list[str], jobs: dict[str, Any], accounted: list[str], doubles: set[str]) -> Judge:
    def ask(program: str, *_: str) -> str:
        return "".join(f"{line}\n" for line in (queue if program == "squeue" else accounted))

    ground = SimpleNamespace(doubles=lambda _instance: doubles)
    light = SimpleNamespace(name="one", instance=INSTANCE, jobs=lambda: jobs, ground=ground)
    return Judge(SimpleNamespace(ask=ask), light)  # type: ignore[arg-type]


def view(state: str, *, began: bool = True, code: str = "finished") -> dict[str, Any]:
    return {"state": state, "started_at": "2026-11-23T05:00:00Z" if began else None, "reason": {"code": code}}


RUNS = f"12|10_2|RUNNING|alice|node1|{NAME}"
OVER = f"12|10_2|COMPLETED|alice|node1|{NAME}"


@pytest.mark.parametrize(
    ("queue", "jobs", "accounted", "doubles", "verdict"),
    [
        ([RUNS], {JOB: view("running")}, [], set(), Verdict()),
        ([OVER], {JOB: view("ended")}, [], set(), Verdict()),
        ([RUNS], {}, [], set(), Verdict(orphans=frozenset({JOB}))),
        ([RUNS], {JOB: view("ended")}, [OVER], set(), None),
        ([RUNS], {JOB: view("running")}, [], {JOB}, Verdict(duplicates=frozenset({JOB}))),
        ([], {JOB: view("ended")}, [], set(), Verdict(unproven=frozenset({JOB}))),
        ([], {JOB: view("ended")}, [f"10_2|COMPLETED|2026-11-23T05:00:00|{NAME}"], set(), Verdict()),
        ([], {JOB: view("ended", began=False)}, [], set(), Verdict()),
        ([], {JOB: view("ended", code="lost-by-slurm")}, [], set(), Verdict()),
        ([RUNS.replace(INSTANCE, "zzzzzzzz")], {}, [], set(), Verdict()),
    ],
)
def test_each_kind_of_fault_is_found(
    queue: list[str], jobs: dict[str, Any], accounted: list[str], doubles: set[str], verdict: Verdict | None
) -> None:
    judge = make_judge(queue, jobs, accounted, doubles)
    if verdict is None:
        assert judge.verdict().false_deaths == {JOB}
        with pytest.raises(AssertionError, match="alive in Slurm"):
            judge.until_content()
    else:
        assert judge.verdict() == verdict


def test_what_others_made_under_our_names_is_left_out() -> None:
    judge = make_judge([RUNS], {}, [], set())
    judge.forged.add("12")
    assert judge.verdict() == Verdict()


def test_an_id_follows_from_name_and_task() -> None:
    assert id_of(NAME, "10_2") == JOB
    assert id_of(f"sampan.{INSTANCE}.{BATCH}.2", "11") == JOB
    assert id_of("other", "11") is None
    assert id_of(NAME, "10_[0-3]") is None
