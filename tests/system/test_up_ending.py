"""What becomes of jobs when Sampan ends: a laptop stops them, `down` leaves them, `down --jobs` ends them all."""

from __future__ import annotations

import getpass
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.installation import Installation, wait_until

ME = getpass.getuser()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "site")
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


def processes_of_jobs(site: Installation) -> list[int]:
    """Every living process whose environment or command line carries a key of this installation."""
    key, found = f"{site.instance}.", []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(key in word for word in words):
            found.append(process.pid)
    return found


def start_notebook(site: Installation) -> str:
    """A ready notebook of mine with one kernel; my token."""
    token = site.token(ME)
    status, _ = site.call("POST", f"/hub/api/users/{ME}/server", token, {})
    assert status in (201, 202)
    wait_until(
        lambda: site.call("GET", f"/hub/api/users/{ME}", token)[1]["servers"].get("", {}).get("ready"), 60, "notebook"
    )
    wait_until(lambda: site.call("POST", f"/user/{ME}/api/kernels", token, {})[0] == 201, 30, "kernel")
    assert processes_of_jobs(site)
    return token


def test_a_laptops_end_says_what_is_lost_and_ends_it(site: Installation) -> None:
    start_notebook(site)
    assert site.up is not None
    site.up.send_signal(signal.SIGTERM)
    assert site.up.wait(30) == 0
    assert "1 notebook (0 busy kernels)" in site.printed.read_text()
    assert processes_of_jobs(site) == []


def test_down_leaves_jobs_and_the_next_up_finds_them(site: Installation) -> None:
    token = start_notebook(site)
    before = set(processes_of_jobs(site))
    assert "1 jobs run on" in site.run("down").stdout
    assert set(processes_of_jobs(site)) == before
    assert site.up is not None
    assert site.up.wait(10) == 0
    site.start()
    wait_until(lambda: site.call("GET", f"/user/{ME}/api/kernels", token)[0] == 200, 30, "the notebook's route")
    assert set(processes_of_jobs(site)) >= before


def test_down_jobs_lists_and_ends_everything(site: Installation) -> None:
    start_notebook(site)
    said = site.run("down", "--jobs").stdout
    assert f"notebook  {ME}" in said
    assert processes_of_jobs(site) == []


def test_down_jobs_works_after_everything_of_ours_was_killed(site: Installation) -> None:
    start_notebook(site)
    assert site.up is not None
    site.up.kill()
    site.up.wait()
    for name in ("proxy", "hub", "service"):
        os.kill(site.process(name), signal.SIGKILL)
    site.run("down", "--jobs")
    assert processes_of_jobs(site) == []


def test_people_are_made_all_or_none_and_links_can_be_revoked(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "class", "isolation: none\n")
    roster = tmp_path / "roster.txt"
    try:
        installation.start()
        roster.write_text("ana\nBEN\n")
        refused = installation.run("user", "add", "--file", str(roster), check=False)
        assert refused.returncode != 0
        assert "roster.txt:2" in refused.stderr
        assert "ana" not in installation.run("user", "list").stdout
        roster.write_text("ana\nben  # comes later\n")
        lines = installation.run("user", "add", "--file", str(roster)).stdout.splitlines()
        assert [line.split()[0] for line in lines] == ["ana", "ben"]
        assert all("/hub/link?token=" in line for line in lines)
        assert "1 link of ana revoked" in installation.run("user", "revoke", "ana").stdout
        assert installation.run("link", "nobody", check=False).returncode != 0
        installation.run("user", "remove", "ben")
        assert "ben" not in installation.run("user", "list").stdout
    finally:
        installation.stop()


def test_a_sites_end_leaves_jobs_running(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "site", f"profile: site\nisolation: none\nadmins: [{ME}]\n")
    try:
        installation.start()
        start_notebook(installation)
        before = set(processes_of_jobs(installation))
        assert installation.up is not None
        installation.up.send_signal(signal.SIGTERM)
        assert installation.up.wait(30) == 0
        assert set(processes_of_jobs(installation)) >= before
        assert "stopping" not in installation.printed.read_text()
    finally:
        installation.stop()
