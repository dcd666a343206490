"""What the client decides, without processes: counts, ends, the brake, idleness, arguments, comparisons, texts."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import sampan
from sampan import EnvironmentDiffers, NotAccepted, Refused, SampanError, ServiceUnavailable, rundir
from sampan._api import read_session
from sampan.errors import make_error
from sampan.host.adapting import Adapting
from sampan.host.decide import (
    Activity,
    Brake,
    Ended,
    IdleClock,
    allowed_workers,
    choose_to_retire,
    count_holding,
    is_arriving,
    plan_changes,
    read_ended,
)
from sampan.host.options import Options, make_submit_request, read_options
from sampan.parity import compare
from sampan.report import describe_waiting, make_quote
from sampan.request import make_counts, make_environment, make_options, make_range
from sampan.security import ensure_keys, make_secrets, store_secrets
from sampan.widget import describe, render

INFO: dict[str, Any] = {
    "name": "trial", "workers": 1, "wanted": {"": 3}, "cores": 1, "memory_bytes": 2**30, "adapt": None,
    "rested": False, "braked": None, "refused": None,
}  # fmt: skip


def test_the_public_names() -> None:
    assert sampan.__all__ == [
        "Cluster", "ClusterFailed", "ClusterNotFound", "EnvironmentDiffers", "NotAccepted", "Refused", "SampanError",
        "ServiceUnavailable", "WorkerWarning", "__version__",
    ]  # fmt: skip
    assert all(getattr(sampan, name) is not None for name in sampan.__all__)
    assert issubclass(EnvironmentDiffers, SampanError)


def test_help_shows_the_arguments_of_cluster() -> None:
    names = "workers size name adapt project backend env idle_timeout asynchronous"
    assert list(inspect.signature(sampan.Cluster).parameters) == names.split()


def test_importing_the_package_or_the_worker_imports_no_dask() -> None:
    loaded = "print('dask' in sys.modules, 'tornado' in sys.modules)"
    check = f"import sampan, sampan.worker, sampan.host.start, sys; {loaded}"
    assert subprocess.check_output([sys.executable, "-c", check], text=True).split() == ["False", "False"]


@pytest.mark.parametrize(
    ("wanted", "have", "caps", "braked", "changes"),
    [
        ({"": 3}, {}, {}, False, {"": 3}),
        ({"": 3}, {"": 1}, {"": 2}, False, {"": 1}),
        ({"": 3}, {"": 2}, {"": 1}, False, {}),
        ({"": 3}, {"": 1}, {}, True, {}),
        ({"": 1}, {"": 3}, {}, True, {"": -2}),
        ({"gpu": 1}, {"": 2}, {}, False, {"gpu": 1, "": -2}),
    ],
)
def test_plan_changes(wanted: Any, have: Any, caps: Any, braked: bool, changes: Any) -> None:
    assert plan_changes(wanted, have, caps, braked) == changes


def test_those_that_have_not_arrived_go_first_and_the_latest_of_them() -> None:
    assert choose_to_retire(["a", "b", "c", "d"], {"a", "b"}, ["b", "a"], 3) == ["d", "c", "b"]


def test_ends_are_read_from_the_feed() -> None:
    job = {"name": "a", "id": "j", "state": "running", "lost": False, "wanted": "run", "reason": None}
    assert read_ended(job) is None
    assert read_ended({**job, "lost": True}) == Ended(
        "a", "j", False, "lost", "the backend has not shown it for too long"
    )
    stopped = read_ended({**job, "state": "ended", "wanted": "stop", "reason": {"code": "asked", "text": "asked"}})
    assert stopped is not None
    assert stopped.asked


def test_the_brake_holds_crash_loops_and_hopeless_environments() -> None:
    brake = Brake()
    end = Ended("a", "j", False, "exit", "exit code 1")
    for second in range(3):
        brake.record(second, end, wanted=1, arrived=False)
        assert brake.cause is None
    brake.record(3, end, wanted=1, arrived=False)
    assert brake.cause is not None
    assert "4 workers ended within a minute" in brake.cause
    brake.release()
    for minute in range(10):
        brake.record(minute * 61, end, wanted=1, arrived=False)
    assert brake.cause is None
    brake.record(700, Ended("a", "j", False, "environment-differs", "dask: kernel 2, worker 1"), 4, arrived=False)
    assert brake.cause == "worker a: dask: kernel 2, worker 1"


def test_idleness() -> None:
    clock = IdleClock(10.0)
    working, held, alone = Activity(True, True, True), Activity(False, True, True), Activity(False, False, False)
    assert clock.look(0, working) == "busy"
    assert clock.look(1, held) == "idle"
    assert clock.look(12, held) == "idle"
    assert clock.look(12, Activity(False, False, True)) == "rest"
    assert clock.look(42, held) == "rest"
    assert clock.look(42, alone) == "end"
    assert clock.look(43, working) == "busy"
    assert clock.look(44, alone) == "idle"
    assert IdleClock(0).look(10**9, alone) == "idle"


@pytest.mark.parametrize(
    "bad",
    [{"workers": -1}, {"workers": True}, {"workers": 2, "adapt": True}, {"name": "No Spaces"}, {"env": "/no/such"}],
)
def test_arguments_that_make_no_sense_are_named(bad: dict[str, Any]) -> None:
    given: dict[str, Any] = dict.fromkeys(("workers", "size", "name", "adapt", "project", "backend", "env"))
    given |= {"idle_timeout": "20m"} | bad
    with pytest.raises(ValueError, match=next(iter(bad))):
        make_options(given.pop("workers"), given.pop("size"), **given)


def test_options_travel_unchanged() -> None:
    made = make_options(
        {"small": 2, "gpu": 1}, None, name="x", adapt=None, project="p", backend=None, env=None, idle_timeout="90s"
    )
    assert read_options(made.as_json()) == made
    assert isinstance(made, Options)
    assert (made.interpreter, made.folder, made.idle_timeout_s) == (sys.executable, str(Path.cwd()), 90.0)
    assert make_environment("default") == ("default", None)
    assert make_counts(3) == {"": 3}
    assert [make_range(adapt) for adapt in (None, True, (1, 4), {"maximum": 2})] == [
        (0, None),
        (0, None),
        (1, 4),
        (0, 2),
    ]


def test_every_submit_has_a_key_of_its_own() -> None:
    first, second = (make_submit_request({"kind": "worker"}, [("a", ""), ("b", "gpu")]) for _ in range(2))
    assert first["batch"] != second["batch"]
    assert first["items"] == [{"name": "a", "size": None}, {"name": "b", "size": "gpu"}]


def test_compare_prints_the_difference() -> None:
    found = compare({"python": "3.11", "numpy": "2.4.6", "dask": "1"}, {"python": "3.11", "numpy": "1.26.4"})
    assert found.errors == ("dask: kernel 1, worker not installed",)
    assert found.warnings == ("numpy: kernel 2.4.6, worker 1.26.4",)


def test_problems_become_errors() -> None:
    limit = make_error(422, {"detail": "no", "code": "over-limit", "limit": "user.cores", "used": 1}, "POST /jobs")
    assert isinstance(limit, Refused)
    assert (str(limit), limit.limit, limit.used, limit.status) == ("no", "user.cores", 1, 422)
    assert isinstance(make_error(401, {}, "GET /jobs"), NotAccepted)
    assert str(make_error(404, {}, "GET /jobs")) == "GET /jobs was answered with status 404"
    away = make_error(503, {"retry_after_s": 2.0}, "GET /jobs")
    assert isinstance(away, ServiceUnavailable)
    assert away.retry_after_s == 2.0


def test_why_names_states_reasons_positions_and_last_words() -> None:
    job = {"name": "trial-1", "state": "accepted", "position": 2, "unknown_since": None,
           "reason": {"code": "waiting-for-capacity", "text": "no 512 MiB are free"}}  # fmt: skip
    text = describe_waiting({**INFO, "refused": {"detail": "user.cores: 4 of 4 used"}}, [job], {"trial-0": "boom"})
    assert text.splitlines() == [
        "Cluster trial: 1 of 3 workers are here.",
        "Refused: user.cores: 4 of 4 used",
        "trial-1: accepted, place 2 in the queue – no 512 MiB are free",
        "The last words of trial-0:",
        "  | boom",
    ]


def test_why_says_when_time_runs_out_and_who_is_replaced() -> None:
    running = {"state": "running", "position": None, "unknown_since": None, "reason": None}
    jobs = [
        {**running, "name": "trial-0", "deadline": "2026-05-04T12:00:00Z"},
        {**running, "name": "trial-1", "deadline": "2026-05-04T13:00:00Z"},
        {**running, "name": "trial-2", "deadline": None},
        {**running, "name": "trial-3"},
    ]
    info = {**INFO, "workers": 4, "leaving": ["trial-0", "trial-9"]}
    at = f"{datetime(2026, 5, 4, 12, tzinfo=UTC).astimezone():%Y-%m-%d %H:%M}"
    assert describe_waiting(info, jobs, {}).splitlines()[1:] == [
        "Nothing is waited for.",
        f"The first worker ends at {at} (walltime); others take over before that.",
        f"trial-0 is being replaced: it ends at {at}.",
    ]


def test_an_announced_end_does_not_brake() -> None:
    brake = Brake()
    for number in range(20):
        brake.record(float(number), Ended(f"w-{number}", "j", False, "walltime", "Its time was up."), 2, arrived=True)
    assert brake.cause is None


def test_a_size_that_is_not_offered_is_named_with_those_that_are() -> None:
    size = {"name": "small", "cores_milli": 500, "memory_bytes": 2**30, "gpus": 0, "price_micros_per_hour": None}
    offers = {"default_size": "small", "currency": None, "sizes": [{**size, "allowed_now": 3, "free_now": None}]}
    assert str(make_quote(offers, 2, None)) == "2 × small: 1 cores, 2.0 GiB; no price; you may have 3 now"
    with pytest.raises(ValueError, match="'big' is not offered; there are: small"):
        make_quote(offers, 1, "big")


def test_the_panel_escapes_what_it_shows() -> None:
    lines = describe({**INFO, "braked": "<b>boom</b>"}, "1.50 EUR")
    assert ("Workers", "1 of 3 (fixed)") in lines
    assert ("Cost so far", "1.50 EUR") in lines
    assert "&lt;b&gt;boom" in render("trial", "/x'y", lines)
    assert "/x&#x27;y" in render("trial", "/x'y", lines)


def test_keys_are_one_pair_private_and_travel(tmp_path: Path) -> None:
    first, second = ensure_keys(tmp_path), ensure_keys(tmp_path)
    assert first == second
    assert first.key.stat().st_mode & 0o777 == 0o600
    assert first.key.parent.stat().st_mode & 0o777 == 0o700
    worker = tmp_path / "worker"
    worker.mkdir()
    there = store_secrets(worker, make_secrets(first))
    assert there.key.read_bytes() == first.key.read_bytes()
    assert there.key.stat().st_mode & 0o777 == 0o600


def test_a_runtime_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "link").symlink_to(rundir.ensure_private(tmp_path / "mine"))
    for name in ("open", "link"):
        with pytest.raises(SampanError, match="not a private folder"):
            rundir.ensure_private(tmp_path / name)


def test_a_reused_pid_is_no_live_host(tmp_path: Path) -> None:
    started = rundir.start_time(os.getpid())
    assert started is not None
    rundir.write_json(tmp_path / "host.json", {"pid": os.getpid(), "pid_started": started})
    assert rundir.live_host(tmp_path) is not None
    rundir.write_json(tmp_path / "host.json", {"pid": os.getpid(), "pid_started": started - 1})
    assert rundir.live_host(tmp_path) is None


def test_half_a_session_says_what_is_missing() -> None:
    assert read_session({}) is None
    with pytest.raises(SampanError, match="SAMPAN_JOB_DIR"):
        read_session({"SAMPAN_SERVICE": "http://x", "SAMPAN_JOB": "j", "SAMPAN_CREDENTIAL_FILE": "/f"})


def test_what_one_may_have_is_bounded_by_limits_and_room() -> None:
    sizes = [{"name": "small", "allowed_now": 7, "free_now": 3}, {"name": "big", "allowed_now": 2, "free_now": None}]
    offers = {"default_size": "small", "sizes": sizes}
    assert [allowed_workers(offers, size) for size in ("", "small", "big", "gone")] == [3, 3, 2, 0]
    states = ("accepted", "submitting", "starting", "running", "stopping", "ended")
    assert count_holding([{"state": state, "lost": False} for state in states]) == 2
    assert count_holding([{"state": "running", "lost": True}]) == 0
    assert [state for state in states if is_arriving([{"state": state}])] == ["submitting", "starting"]


class AdaptedCluster:
    """Stands for the workers: remembers the bounds it was given."""

    def __init__(self) -> None:
        self.last_jobs: list[dict[str, Any]] = []
        self.maximum = 0

    def adapt(self, *, minimum: int, maximum: int, **_: Any) -> Any:
        self.maximum = maximum
        return self

    def stop(self, reason: str) -> None:
        """As Adaptive's."""


async def test_without_a_maximum_what_one_may_have_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.host.adapting.ASK_AGAIN_S", 0.0)
    small = {"name": "small", "allowed_now": 4, "free_now": 9}

    async def ask_offers() -> dict[str, Any]:
        return {"default_size": "small", "sizes": [small]}

    cluster: Any = AdaptedCluster()
    adapting = Adapting(cluster, "", ask_offers)
    await adapting.begin(0, None)
    assert cluster.maximum == 4
    cluster.last_jobs = [{"state": "running", "lost": False}] * 4
    small["allowed_now"] = 0
    await adapting.follow()
    assert (cluster.maximum, adapting.bounds) == (4, (0, 4))
    small["allowed_now"] = 3  # another cluster of this person ended, or an administrator raised the limit
    await adapting.follow()
    assert (cluster.maximum, adapting.bounds) == (7, (0, 7))
    await adapting.begin(1, 2)
    await adapting.follow()
    assert (cluster.maximum, adapting.bounds) == (2, (1, 2))


def test_what_killed_sessions_left_is_swept_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "LOCAL", tmp_path)
    folders = {
        name: tmp_path / f"sampan-{os.getuid()}-{name}" for name in ("mine", "killed", "hosted", "elsewhere", "new")
    }
    for folder in folders.values():
        rundir.ensure_private(folder)
    for name in ("mine", "killed", "hosted", "elsewhere"):
        rundir.own(folders[name])
    alive = rundir.read_json(folders["mine"] / "owner.json")
    assert alive is not None
    dead = {**alive, "pid_started": alive["pid_started"] - 1}
    rundir.write_json(folders["killed"] / "owner.json", dead)
    rundir.write_json(folders["hosted"] / "owner.json", dead)
    rundir.write_json(rundir.ensure_private(folders["hosted"] / "flights") / "host.json", alive)
    rundir.write_json(folders["elsewhere"] / "owner.json", {**dead, "machine": "another"})
    assert rundir.sweep() == [folders["killed"]]
    assert set(tmp_path.iterdir()) == set(folders.values()) - {folders["killed"]}
