"""The judge of faults on Kubernetes finds each kind of fault: without that its silence says nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.judge.pods import leftovers, pods_of
from tests.kube.faults import judge as judging
from tests.kube.faults.judge import Judge, Verdict, decide

INSTANCE = "abcdefgh"
JOB = f"{INSTANCE}.bcdefgh234567abc"
NAME = "notebook-abcdefgh-bcdefgh234567abc"


def pod(phase: str = "Running", *, name: str = NAME, uid: str = "u1", instance: str = INSTANCE) -> dict[str, Any]:
    labels = {"sampan.io/instance": instance, "sampan.io/job": JOB}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "uid": uid, "labels": labels},
        "spec": {},
        "status": {"phase": phase},
    }


def thing(kind: str, name: str, **labels: str) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name, "labels": {"sampan.io/instance": INSTANCE, **labels}}}


def view(state: str, *, unknown: bool = False) -> dict[str, Any]:
    return {"state": state, "unknown_since": "2026-11-23T05:00:00Z" if unknown else None}


@pytest.mark.parametrize(
    ("pods", "jobs", "doubles", "verdict"),
    [
        ([pod()], {JOB: view("running")}, set(), Verdict()),
        ([], {JOB: view("ended")}, set(), Verdict()),
        ([pod()], {}, set(), Verdict(orphans=frozenset({NAME}))),
        ([pod("Pending")], {JOB: view("ended")}, set(), Verdict(orphans=frozenset({NAME}))),
        ([pod("Succeeded")], {JOB: view("ended")}, set(), Verdict(orphans=frozenset({NAME}))),
        (
            [pod()],
            {JOB: view("ended")},
            set(),
            Verdict(orphans=frozenset({NAME}), false_deaths=frozenset({JOB})),
        ),
        ([pod()], {JOB: view("running")}, {JOB}, Verdict(duplicates=frozenset({JOB}))),
        (
            [pod(), pod(name="second", uid="u2")],
            {JOB: view("running")},
            set(),
            Verdict(duplicates=frozenset({JOB})),
        ),
        ([], {JOB: view("running")}, set(), Verdict(missing=frozenset({JOB}))),
        ([], {JOB: view("running", unknown=True)}, set(), Verdict()),
        ([pod(instance="zzzzzzzz")], {}, set(), Verdict()),
    ],
)
def test_each_kind_of_fault_is_found(
    pods: list[dict[str, Any]], jobs: dict[str, Any], doubles: set[str], verdict: Verdict
) -> None:
    assert decide(jobs, pods_of(pods, INSTANCE), doubles) == verdict


def make_judge(items: list[dict[str, Any]], jobs: dict[str, Any]) -> Judge:
    kube = SimpleNamespace(get=lambda *_, namespace: {"items": items})
    ground = SimpleNamespace(kube=kube, namespace="n", entry=SimpleNamespace(doubles=lambda _instance: set()))
    return Judge(SimpleNamespace(name="one", instance=INSTANCE, jobs=lambda: jobs, ground=ground))  # type: ignore[arg-type]


def test_a_false_death_is_told_at_once() -> None:
    with pytest.raises(AssertionError, match="its pod works"):
        make_judge([pod()], {JOB: view("ended")}).until_content()


def test_what_others_made_under_our_labels_is_left_out() -> None:
    judge = make_judge([pod(name="copy")], {})
    judge.forged.add("copy")
    assert judge.verdict() == Verdict()


def test_whatever_is_left_is_found_but_homes(monkeypatch: pytest.MonkeyPatch) -> None:
    home = thing("PersistentVolumeClaim", "home-alice", **{"sampan.io/home": "alice"})
    others = [thing("NetworkPolicy", "owner"), thing("Secret", "s"), thing("PersistentVolumeClaim", "scratch"), pod()]
    names = {"NetworkPolicy/owner", "Secret/s", "PersistentVolumeClaim/scratch", f"Pod/{NAME}"}
    assert leftovers([home, *others], INSTANCE) == names
    monkeypatch.setattr(judging, "SETTLE_S", 0.1)
    make_judge([home], {}).until_nothing_is_left()
    with pytest.raises(AssertionError, match="Secret/s"):
        make_judge([home, *others], {}).until_nothing_is_left()
