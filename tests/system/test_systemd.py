"""The command lines of the units, run for real: three processes that nobody but their keeper starts again."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan_hub.cli.supervise.records import read_record
from tests.support.installation import SAMPAN, Installation, wait_until
from tests.unit.test_cli_systemd import UNITS, read_unit

NAMES = ("proxy", "hub", "service")


class Machine(Installation):
    """An installation whose processes are kept as systemd would: by their units' lines, and by no `sampan up`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "profile: site\nlogin: links\nisolation: none\nadmins: [ana]\n")
        root = folder / "root"
        root.mkdir()
        self.run("systemd", "--user", "root", "--write", str(root))
        self.units = {name: root / "etc/systemd/system" / name for name in UNITS}
        self.kept: dict[str, subprocess.Popen[bytes]] = {}

    def keep(self, name: str) -> subprocess.Popen[bytes]:
        """Start one as its unit says: the command, the variables, nothing else of ours."""
        service = read_unit(self.units[f"sampan-{name}.service"].read_text())["Service"]
        variable, _, value = service["Environment"].partition("=")
        with (self.folder / f"{name}.txt").open("ab") as output:
            self.kept[name] = subprocess.Popen(
                shlex.split(service["ExecStart"]),
                env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "LANG": "C.UTF-8", variable: value},
                cwd="/",
                umask=int(service["UMask"], 8),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.kept[name]

    def is_well(self) -> bool:
        return self.run("check", check=False).returncode == 0

    def said(self, name: str) -> str:
        return (self.folder / f"{name}.txt").read_text()

    def stop(self) -> None:
        try:
            super().stop()
        finally:
            for process in self.kept.values():
                if process.poll() is None:
                    process.kill()
                process.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "site")
    yield made
    made.stop()


def serves(machine: Machine) -> bool:
    try:
        return machine.call("GET", "/services/sampan/readyz", "")[0] == 200
    except OSError:
        return False


def test_units_serve_and_everything_else_works_with_them(machine: Machine) -> None:
    for name in reversed(NAMES):  # all at once, on a machine that has never served
        machine.keep(name)
    wait_until(lambda: serves(machine), 60, "hub and service answer through the proxy")
    for name in NAMES:
        assert machine.process(name) == machine.kept[name].pid, (
            "it became the process, as a main process of a unit must"
        )

    wait_until(machine.is_well, 30, "sampan check finds nothing")
    link = machine.run("link", "ana").stdout.strip()
    assert link.startswith(f"{machine.url}/hub/")
    machine.run("user", "add", "ben")
    token = machine.token("ben")
    assert machine.call("POST", "/hub/api/users/ben/server", token, {})[0] in (201, 202)
    jobs = wait_until(lambda: machine.run("jobs", "--json").stdout.count('"running"'), 60, "a notebook runs")
    assert jobs == 1

    # One ends: check says so, and names who starts it again; the notebook does not notice.
    machine.kept["hub"].terminate()
    machine.kept["hub"].wait(20)
    said = machine.run("check", check=False).stdout
    assert "the hub does not run" in said
    assert "sampan.target" in said
    assert "journalctl -u sampan-hub" in said
    assert "`sampan up` does not run" not in said
    machine.keep("hub")
    wait_until(machine.is_well, 60, "the hub is back, on its port")
    assert machine.call("GET", "/user/ben/api/status", token)[0] == 200

    # A proxy that was started again knows no routes: the hub brings them.
    machine.kept["proxy"].kill()
    machine.kept["proxy"].wait(20)
    machine.keep("proxy")
    wait_until(lambda: serves(machine), 60, "pages are back")
    wait_until(lambda: machine.call("GET", "/user/ben/api/status", token)[0] == 200, 60, "the notebook's route is back")

    said = machine.run("down", "--jobs").stdout
    assert "ended: proxy, hub, service" in said
    assert [process.wait(20) is not None for process in machine.kept.values()] == [True] * 3


def test_each_runs_once(machine: Machine) -> None:
    first = machine.keep("hub")
    wait_until(lambda: read_record(machine.state / "run" / "hub.json"), 30, "the hub has its record")
    second = subprocess.run(
        [SAMPAN, "run", "hub"], env={**os.environ, **machine.environment}, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 1
    assert "The hub runs here already" in second.stderr
    assert first.poll() is None
    up = machine.run("down")
    assert "ended: hub" in up.stdout
    first.wait(20)


def test_sampan_up_takes_over_what_was_run(machine: Machine) -> None:
    """Somebody types `sampan up` on a machine that systemd serves: no second hub, and no restart of the first."""
    for name in NAMES:
        machine.keep(name)
    wait_until(lambda: serves(machine), 60, "hub and service answer through the proxy")
    machine.start()
    assert "hub ready (taken over)" in machine.printed.read_text()
    assert {name: machine.process(name) for name in NAMES} == {name: machine.kept[name].pid for name in NAMES}
