"""`sampan up` as a person sees it: one link, loopback only, restarts, take-over, refusals with a remedy."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.installation import SAMPAN, Installation, wait_until

NAMES = ("proxy", "hub", "service")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    installation = Installation(tmp_path / "site")
    try:
        installation.start()
        yield installation
    finally:
        installation.stop()


def ready_count(site: Installation, name: str) -> int:
    return len(re.findall(rf"^{name} ready", site.printed.read_text(), re.MULTILINE))


def wait_for_restart(site: Installation, name: str, before: int) -> None:
    wait_until(lambda: ready_count(site, name) > before, 60, f"{name} ready again")


def is_running(pid: int) -> bool:
    """Whether it lives; an orphan that init has not reaped yet has ended."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def listeners(pid: int) -> set[str]:
    return {c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == psutil.CONN_LISTEN}


def test_one_link_and_loopback_alone(site: Installation) -> None:
    printed = site.printed.read_text()
    assert len(re.findall(r"\w+://", printed)) == 1
    assert len(re.findall(r"^\w+ ready$", printed, re.MULTILINE)) == 3
    assert {name: listeners(site.process(name)) for name in NAMES} == {name: {"127.0.0.1"} for name in NAMES}
    assert site.state.stat().st_mode & 0o777 == 0o700
    for log in (site.state / "log").iterdir():
        assert log.stat().st_mode & 0o777 == 0o600


def test_no_secret_in_a_command_line(site: Installation) -> None:
    secrets = [path.read_text().strip() for path in (site.state / "keys").iterdir()]
    for name in NAMES:
        words = Path(f"/proc/{site.process(name)}/cmdline").read_text()
        assert not [secret for secret in secrets if secret in words]


def test_a_second_up_prints_a_fresh_link_and_leaves_the_first_alone(site: Installation) -> None:
    before = [site.process(name) for name in NAMES]
    second = site.run("up")
    assert "already running" in second.stdout
    links = re.findall(r"http://\S+", second.stdout)
    assert len(links) == 1
    assert links[0] not in site.printed.read_text()
    assert [site.process(name) for name in NAMES] == before


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_process_is_started_again(site: Installation, name: str) -> None:
    pid, before = site.process(name), ready_count(site, name)
    os.kill(pid, signal.SIGKILL)
    wait_for_restart(site, name, before)
    assert site.process(name) != pid
    token = site.token("root" if os.geteuid() == 0 else psutil.Process().username())
    wait_until(lambda: site.call("GET", "/hub/api/user", token)[0] == 200, 20, "the hub behind the proxy")
    assert site.printed.read_text().count("token=") == 1


def test_a_killed_up_is_taken_over(site: Installation) -> None:
    before = {name: site.process(name) for name in NAMES}
    assert site.up is not None
    site.up.kill()
    site.up.wait()
    site.start()
    assert {name: site.process(name) for name in NAMES} == before
    assert site.printed.read_text().count("taken over") == 3
    os.kill(before["service"], signal.SIGKILL)
    wait_until(lambda: site.process("service") != before["service"], 30, "a service started by the new up")


def test_up_and_hub_killed_together(site: Installation) -> None:
    before = {name: site.process(name) for name in NAMES}
    assert site.up is not None
    site.up.kill()
    os.kill(before["hub"], signal.SIGKILL)
    site.up.wait()
    site.start()
    after = {name: site.process(name) for name in NAMES}
    assert after["hub"] != before["hub"]
    assert (after["proxy"], after["service"]) == (before["proxy"], before["service"])


def test_other_settings_replace_what_runs(site: Installation) -> None:
    before = {name: site.process(name) for name in NAMES}
    assert site.up is not None
    site.up.kill()
    site.up.wait()
    with (site.folder / "sampan.yaml").open("a") as settings:
        settings.write("unknown_grace: 5m\n")
    site.start()
    assert not set(before.values()) & {site.process(name) for name in NAMES}


def test_down_ends_every_process(site: Installation) -> None:
    pids = [site.process(name) for name in NAMES]
    assert "ended: proxy, hub, service, up" in site.run("down").stdout
    assert not [pid for pid in pids if is_running(pid)]
    assert site.up is not None
    assert site.up.wait(10) == 0
    assert "nothing was running" in site.run("down").stdout


def test_down_after_up_was_killed(site: Installation) -> None:
    pids = [site.process(name) for name in NAMES]
    assert site.up is not None
    site.up.kill()
    site.up.wait()
    assert "ended: proxy, hub, service" in site.run("down").stdout
    assert not [pid for pid in pids if is_running(pid)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_three(site: Installation, number: signal.Signals) -> None:
    pids = [site.process(name) for name in NAMES]
    assert site.up is not None
    site.up.send_signal(number)
    assert site.up.wait(30) == 0
    assert not [pid for pid in pids if is_running(pid)]


def test_a_stale_record_of_a_reused_pid_is_no_process_of_ours(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "site")
    run = installation.state / "run"
    run.mkdir(parents=True)
    for folder in (installation.state, run):
        folder.chmod(0o700)
    stale = {"pid": os.getpid(), "start_ticks": 1, "boot_id": "another", "orders": "x"}
    for name in NAMES:
        (run / f"{name}.json").write_text(json.dumps(stale))
    try:
        installation.start()
        assert os.getpid() not in [installation.process(name) for name in NAMES]
    finally:
        installation.stop()


def refused(installation: Installation) -> str:
    """What `sampan up` says when it does not start: one sentence on one line."""
    done = subprocess.run(
        [SAMPAN, "up"],
        cwd=installation.folder,
        env=installation.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "site")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", installation.port))
        taken.listen()
        said = refused(installation)
    assert str(installation.port) in said
    assert "url:" in said


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "site")
    installation.state.write_text("a file where the folder should be")
    assert "state_dir" in refused(installation)


def test_a_state_folder_open_to_others_is_one_sentence(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "site")
    installation.state.mkdir(mode=0o755)
    assert "chmod 700" in refused(installation)


def test_without_a_hub_one_sentence_names_sampan_up(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "site")
    for words in (["link"], ["token", "ana"], ["user", "list"], ["user", "add", "ana"]):
        done = installation.run(*words, check=False)
        assert done.returncode != 0
        assert "sampan up" in done.stderr
        assert "Traceback" not in done.stderr
