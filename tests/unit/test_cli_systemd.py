"""`sampan systemd`: what systemd and sudo make of the files, and that nobody's changes are lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sampan_hub.cli.main import main
from sampan_hub.cli.sitefiles.place import ensure_state_folder
from sampan_hub.cli.sitefiles.render import UNITS, CannotRender, Facts, SiteFile, render_all
from sampan_hub.cli.supervise.units import parse_unit
from sampan_hub.privilege.policy import parse_policy
from sampan_hub.privilege.sudo import is_own_rule, render_sudo_rule
from sampan_hub.settings.slurm import SlurmBackend

SETTINGS = """
profile: site
url: https://hub.example.org/
listen: 0.0.0.0:443
tls: own
login: links
state_dir: {state}
backends:
  cluster: {{kind: slurm, accounting: true{more}}}
environments:
  default: {{prefix: /shared/sampan/default}}
sizes: {{small: {{cores: 1, memory: 2G}}}}
"""
MEANS_NO_NEW_PRIVILEGES = {
    "DynamicUser",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "ProtectClock",
    "ProtectHostname",
    "ProtectKernelLogs",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallLog",
}
"""What systemd.exec(5) says switches sudo off in a unit with `User=`."""


def facts(**changes: object) -> Facts:
    usual: dict[str, object] = {
        "user": "sampan",
        "sampan": Path("/opt/sampan/bin/sampan"),
        "config": Path("/etc/sampan/sampan.yaml"),
        "state": Path("/var/lib/sampan"),
        "port": 443,
        "backends": (SlurmBackend(kind="slurm"),),
    }
    return Facts(**{**usual, **changes})  # type: ignore[arg-type]


def by_name(files: list[SiteFile]) -> dict[str, SiteFile]:
    return {file.path.name: file for file in files}


def read_unit(text: str) -> RawConfigParser:
    parser = RawConfigParser(strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


class Place:
    """A settings file and an empty root folder of a machine."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.config = folder / "sampan.yaml"
        self.config.write_text(SETTINGS.format(state=folder / "state", more=more))

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, ["--config", str(self.config), "systemd", *words])

    def write(self, *words: str) -> Result:
        return self.run("--write", str(self.root), *words)

    def files(self) -> dict[str, Path]:
        return {path.name: path for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# What the units say.


def test_every_unit_is_one_that_systemd_takes(place: Place) -> None:
    """Not only parsed: a negative control shows that it would say so."""
    assert place.write().exit_code == 0
    units = [str(place.files()[name]) for name in UNITS]
    verify = [shutil.which("systemd-analyze") or "systemd-analyze is missing: install systemd", "verify", "--man=no"]
    done = subprocess.run([*verify, *units], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    hub = place.files()["sampan-hub.service"]
    hub.write_text(hub.read_text().replace("KillMode=process", "KillMode=sometimes"))
    done = subprocess.run([*verify, *units], capture_output=True, text=True, timeout=60)
    assert "sampan-hub.service:14: Failed to parse kill mode" in done.stderr


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_jobs_outlive_every_service(name: str) -> None:
    service = read_unit(by_name(render_all(facts()))[name].text)["Service"]
    assert service["KillMode"] == "process"
    assert service["Restart"] == "always"
    assert service["User"] == "sampan"
    assert service["Environment"] == "SAMPAN_CONFIG=/etc/sampan/sampan.yaml"
    process = name.removeprefix("sampan-").removesuffix(".service")
    assert service["ExecStart"] == f"/opt/sampan/bin/sampan run {process}"


def test_only_the_service_may_become_somebody_else() -> None:
    files = by_name(render_all(facts()))
    for name in ("sampan-proxy.service", "sampan-hub.service"):
        service = read_unit(files[name].text)["Service"]
        assert service["NoNewPrivileges"] == "yes"
        assert service["ReadWritePaths"] == "/var/lib/sampan"
    service = read_unit(files["sampan-service.service"].text)["Service"]
    assert not set(service) & MEANS_NO_NEW_PRIVILEGES
    assert "CapabilityBoundingSet" not in service
    assert "PrivateTmp" not in service, "jobs of a local backend live in this service's view of /tmp"
    assert service["OOMPolicy"] == "continue", "nor does one that takes too much memory end the service"


@pytest.mark.parametrize(("port", "capability"), [(443, "CAP_NET_BIND_SERVICE"), (8443, "")])
def test_a_low_port_is_all_that_the_proxy_may_take(port: int, capability: str) -> None:
    proxy = read_unit(by_name(render_all(facts(port=port)))["sampan-proxy.service"].text)["Service"]
    assert proxy["CapabilityBoundingSet"] == capability
    assert proxy.get("AmbientCapabilities", "") == capability


def test_starting_the_target_starts_all_and_stopping_it_stops_all() -> None:
    files = by_name(render_all(facts()))
    services = {name for name in UNITS if name.endswith(".service")}
    assert set(read_unit(files["sampan.target"].text)["Unit"]["Wants"].split()) == services
    assert all(read_unit(files[name].text)["Unit"]["PartOf"] == "sampan.target" for name in services)


@pytest.mark.parametrize("odd", ["/etc/my sampan.yaml", "/etc/%n.yaml", "/etc/$HOME.yaml", '/etc/"x".yaml', "/e\nX=y"])
def test_what_systemd_would_read_otherwise_is_refused(odd: str) -> None:
    with pytest.raises(CannotRender, match="plainer"):
        render_all(facts(config=Path(odd)))


# The sudo rule and the settings of sampan-run-as.


def test_the_rule_and_the_settings_are_those_of_the_backend() -> None:
    backend = SlurmBackend(kind="slurm", commands=Path("/opt/slurm/bin"), accounting=True)
    files = by_name(render_all(facts(backends=(backend,))))
    assert files["sampan"].mode == 0o440
    assert "/opt/sampan/bin/sampan-run-as submit" in files["sampan"].text
    policy = parse_policy(files["run-as.json"].text.encode())
    assert (policy.sbatch, policy.sacct) == ("/opt/slurm/bin/sbatch", "/opt/slurm/bin/sacct")
    assert (policy.accounting, policy.caller) == (True, "sampan")
    assert {"sudo", "wheel", "docker"} <= set(policy.refuse_groups)


@pytest.mark.parametrize("backends", [(), (SlurmBackend(kind="slurm", submit_as="one"),)])
def test_without_jobs_of_other_people_there_is_no_privilege(backends: tuple[SlurmBackend, ...]) -> None:
    assert set(by_name(render_all(facts(backends=backends)))) == set(UNITS)


def test_a_name_that_the_rule_could_not_hold_is_refused() -> None:
    backend = SlurmBackend(kind="slurm", run_as=Path("/opt/x, ALL/run"))
    with pytest.raises(CannotRender, match="run_as"):
        render_all(facts(backends=(backend,)))


# Printing and writing.


def test_what_is_printed_names_every_file(place: Place) -> None:
    printed = place.run()
    assert printed.exit_code == 0, printed.output
    named = re.findall(r"^# (/\S+) \(mode (\d+)\)$", printed.stdout, re.MULTILINE)
    assert ("/etc/sudoers.d/sampan", "0440") in named
    assert len(named) == len(UNITS) + 2
    assert place.files() == {}


def test_files_are_put_into_place_whatever_the_umask(place: Place) -> None:
    before = os.umask(0o077)
    try:
        assert place.write().exit_code == 0
    finally:
        os.umask(before)
    files = place.files()
    assert {*UNITS, "sampan", "run-as.json"} == set(files)
    assert stat.S_IMODE(files["sampan"].stat().st_mode) == 0o440
    assert stat.S_IMODE(files["run-as.json"].stat().st_mode) == 0o644
    assert all(stat.S_IMODE(folder.stat().st_mode) == 0o755 for folder in (place.root / "etc").rglob("*/"))
    assert json.loads(files["run-as.json"].read_text())["caller"] == "sampan"
    again = place.write()
    assert again.exit_code == 0
    assert "wrote" not in again.output, "nothing to do"


def test_what_somebody_changed_is_not_replaced_unless_told_and_then_kept(place: Place) -> None:
    place.write()
    hub = place.files()["sampan-hub.service"]
    hub.write_text(hub.read_text() + "Nice=5\n")
    place.files()["sampan.target"].unlink()
    refused = place.write()
    assert refused.exit_code == 1
    assert str(hub) in refused.output
    assert "--force" in refused.output
    assert "sampan.target" not in place.files(), "all or nothing"
    assert "Nice=5" in hub.read_text()
    assert place.write("--force").exit_code == 0
    assert "Nice=5" not in hub.read_text()
    assert "Nice=5" in place.files()["sampan-hub.service.before"].read_text()
    assert not [name for name in place.files() if name.startswith(".")]


def test_a_rule_that_no_backend_needs_any_more_is_removed(place: Place) -> None:
    assert "removed" not in place.write().output
    rule = place.files()["sampan"]
    text = rule.read_text()
    settings = place.config.read_text().replace("kind: slurm", "kind: slurm, submit_as: one")
    place.config.write_text(settings + "isolation: none\n")
    done = place.write("--force")
    assert (done.exit_code, rule.exists()) == (0, False), done.output
    assert f"removed {rule}: no backend needs it any more" in done.output
    assert not [name for name in place.files() if name.startswith("sampan.before")], "nobody's work is in it"
    rule.write_text(f"{text}ana ALL=(root) NOPASSWD: ALL\n")
    refused = place.write()
    assert (refused.exit_code, rule.exists()) == (1, True)
    assert f"{rule} is not needed any more, but was changed" in refused.output
    assert place.write("--force").exit_code == 0
    assert not rule.exists()
    assert "ana ALL" in place.files()["sampan.before"].read_text()


@pytest.mark.parametrize("text", ["", "ana ALL=(root) NOPASSWD: ALL\n", "# What a may do as root: x\nCmnd_Alias"])
def test_rules_of_others_are_not_taken_for_ours(text: str) -> None:
    assert is_own_rule(render_sudo_rule("sampan", "/opt/sampan/bin/sampan-run-as"))
    assert not is_own_rule(text)
    assert not is_own_rule(render_sudo_rule("sampan", "/opt/run") + text + "\n")


def test_a_rule_that_sudo_would_not_take_is_not_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan_hub.cli.sitefiles.render.render_sudo_rule", lambda *_: "sampan may do everything\n")
    refused = place.write()
    assert refused.exit_code == 1
    assert "sudo would not take the rule" in refused.output
    assert place.files() == {}


def test_no_state_folder_is_given_away_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the folder above may put a link in the place of what root has just made."""
    precious = tmp_path / "precious"
    precious.mkdir()
    owner = precious.stat().st_uid
    monkeypatch.setattr(Path, "mkdir", lambda self, **_: self.symlink_to(precious))
    with pytest.raises(NotADirectoryError):
        ensure_state_folder(tmp_path / "state", "nobody")
    assert precious.stat().st_uid == owner


def test_only_root_writes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    refused = place.write()
    assert refused.exit_code == 1
    assert "run this as root" in refused.output
    assert place.files() == {}


def test_without_settings_there_is_nothing_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    refused = CliRunner().invoke(main, ["systemd"])
    assert refused.exit_code == 1
    assert "--config" in refused.output


# Who keeps a process.


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/sampan-hub.service\n", "sampan-hub.service"),
        ("1:name=systemd:/system.slice/sampan-hub.service\n0::/\n", "sampan-hub.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
        ("0::/\n", None),
    ],
)
def test_a_unit_is_known_by_the_group_of_its_processes(cgroups: str, unit: str | None) -> None:
    assert parse_unit(cgroups) == unit
