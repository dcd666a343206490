"""What `sampan check` finds in a state folder, on a machine and in an environment, each with its remedy."""

from __future__ import annotations

import io
import os
import resource
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from rich.console import Console

from sampan_hub.cli.checks import machine, running, state
from sampan_hub.cli.checks.login import check_login
from sampan_hub.cli.checks.tls import check_tls
from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.cli.jobs import describe_state, make_table, render_age
from sampan_hub.cli.main import main
from sampan_hub.cli.supervise.prepare import ensure_state
from sampan_hub.cli.supervise.records import ProcessRecord, make_own_record, write_record
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.settings.model import ClassLogin, Environment, FakeBackend, Settings, Tls


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """An installation that was started once and does not run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    site = load_site(None)
    ensure_state(site)
    return site


def texts(found: Iterable[Trouble]) -> list[str]:
    """What was found; every finding has a remedy."""
    listed = list(found)
    assert all(trouble.remedy for trouble in listed)
    return [trouble.text for trouble in listed]


def test_a_fresh_folder_has_no_findings(site: Site) -> None:
    assert texts(state.check_state_folder(site.paths)) == []
    assert texts(state.check_key_files(site.paths)) == []
    assert texts(state.check_clock(site.paths)) == []
    assert texts(state.check_one_installation(site)) == []
    assert texts(running.check_other_users_of_folder(site)) == []


def test_the_state_folder_must_be_there_private_and_ours(site: Site) -> None:
    root = site.paths.root
    root.chmod(0o755)
    site.paths.run.chmod(0o770)
    assert texts(state.check_state_folder(site.paths)) == [
        f"{root} can be entered by others",
        f"{site.paths.run} can be entered by others",
    ]
    shutil.rmtree(root)
    assert texts(state.check_state_folder(site.paths)) == [f"{root} does not exist: Sampan was not started yet"]
    assert not state.is_ours_to_read(site.paths)


def test_a_folder_of_another_user_is_not_looked_into(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert texts(state.check_state_folder(site.paths)) == [f"{site.paths.root} belongs to another user (uid {own})"]
    assert not state.is_ours_to_read(site.paths)


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_full_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10 << 30, 0, 300 << 20))
    assert texts(state.check_state_folder(site.paths)) == [f"only 300 MiB are free on the disk of {site.paths.root}"]


def test_keys_must_be_private_whole_and_there(site: Site) -> None:
    site.paths.key("service.key").chmod(0o644)
    site.paths.key("signing.key").write_text("")
    site.paths.key("hub-cookie").unlink()
    found = list(state.check_key_files(site.paths))
    assert [trouble.text for trouble in found] == [
        f"{site.paths.key('service.key')} can be read by others",
        f"{site.paths.key('signing.key')} is empty",
        f"{site.paths.key('hub-cookie')} is missing",
    ]
    assert "chmod 600" in found[0].remedy
    assert "`sampan up` makes it" in found[2].remedy


def test_a_clock_set_back(site: Site) -> None:
    ahead_s = time.time() + 3600
    os.utime(site.paths.run, (ahead_s, ahead_s))
    (text,) = texts(state.check_clock(site.paths))
    assert text.startswith("the clock was set back")


def test_a_database_of_another_installation(site: Site) -> None:
    site.paths.instance.write_text("aaaaaaaa\n")
    with sqlite3.connect(site.paths.sampan_sqlite) as database:
        database.execute("CREATE TABLE site (instance TEXT)")
        database.execute("INSERT INTO site VALUES ('bbbbbbbb')")
    database.close()
    assert texts(state.check_one_installation(site)) == [
        f"{site.paths.instance} says aaaaaaaa, but the database belongs to the installation bbbbbbbb"
    ]
    site.paths.instance.write_text("bbbbbbbb\n")
    assert texts(state.check_one_installation(site)) == []


def test_secrets_written_out_in_a_file_others_can_read(tmp_path: Path) -> None:
    file = tmp_path / "sampan.yaml"
    file.write_text("database: postgresql://ana:pw@db/x\n")
    file.chmod(0o644)
    assert texts(state.check_settings_file(file)) == [f"{file} has a secret written out in it, and others can read it"]
    file.chmod(0o600)
    assert texts(state.check_settings_file(file)) == []
    file.chmod(0o644)
    file.write_text("database: {env: DB}\nlogin: {class: x, config: {client_id: a, client_secret: {file: s}}}\n")
    assert texts(state.check_settings_file(file)) == []
    file.write_text("login: {class: x, config: {client_id: a, client_secret: pw}}\n")
    assert len(texts(state.check_settings_file(file))) == 1
    assert texts(state.check_settings_file(None)) == []


def test_processes_none_some_all(site: Site) -> None:
    assert texts(running.check_processes(site)) == ["Sampan does not run here"]
    for name in ("proxy", "hub"):
        write_record(site.paths.run / f"{name}.json", make_own_record("x"))
    assert texts(running.check_processes(site)) == [
        "the service does not run",
        "`sampan up` does not run: what ends now is not started again",
    ]
    write_record(site.paths.run / "up.json", make_own_record("up"))
    write_record(site.paths.run / "service.json", make_own_record("x"))
    assert texts(running.check_processes(site)) == []


def test_a_record_of_another_machine(site: Site) -> None:
    write_record(site.paths.run / "hub.json", ProcessRecord(1, 1, "another-boot", "x"))
    assert texts(running.check_other_users_of_folder(site)) == [
        f"another machine started a hub with {site.paths.root} while this one was up"
    ]
    os.utime(site.paths.run / "hub.json", (1, 1))  # before this machine's boot: it was ours, then
    assert texts(running.check_other_users_of_folder(site)) == []


def test_recorded_processes_that_do_not_answer(site: Site) -> None:
    for name in ("proxy", "hub", "service"):
        write_record(site.paths.run / f"{name}.json", make_own_record("x"))
    site.ports_file.write_text('{"public": 1, "proxy_api": 1, "hub": 1, "service": 1}')
    said = texts(running.check_answers(site))
    assert [text.partition(":")[0] for text in said] == [
        "the proxy does not answer",
        "the hub does not answer",
        "the service does not answer",
    ]


def write_certificate(folder: Path, begins: datetime, ends: datetime, password: bytes | None = None) -> Tls:
    """A self-signed certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "s.example")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begins, ends)
    tls = Tls(certificate=folder / "c.pem", key=folder / "k.pem")
    tls.certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    tls.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
    tls.key.chmod(0o600)
    return tls


NOW = datetime(2026, 6, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("begins_days", "ends_days", "said"),
    [
        (-10, 90, []),
        (-90, 5, ["its time ends on 2026-06-20"]),
        (-90, -5, ["its time ended on 2026-06-10"]),
        (5, 90, ["is valid from 2026-06-20 only"]),
    ],
)
def test_certificates_in_time(begins_days: int, ends_days: int, said: list[str], tmp_path: Path) -> None:
    tls = write_certificate(tmp_path, NOW + timedelta(days=begins_days), NOW + timedelta(days=ends_days))
    found = texts(check_tls(tls, NOW))
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    year = timedelta(days=365)
    tls = write_certificate(tmp_path, NOW - year, NOW + year)
    tls.key.chmod(0o640)
    assert texts(check_tls(tls, NOW)) == [f"{tls.key} can be read by others"]
    (tmp_path / "other").mkdir()
    other = write_certificate(tmp_path / "other", NOW - year, NOW + year)
    (text,) = texts(check_tls(Tls(certificate=tls.certificate, key=other.key), NOW))
    assert "cannot be used together" in text
    tls.certificate.write_text("no certificate")
    (text,) = texts(check_tls(tls, NOW))
    assert "cannot be used together" in text
    tls.certificate.unlink()
    (text,) = texts(check_tls(tls, NOW))
    assert "cannot be read" in text
    (text,) = texts(check_tls(write_certificate(tmp_path, NOW - year, NOW + year, b"pw"), NOW))
    assert "password" in text


def test_the_authenticator_can_be_imported() -> None:
    def said(name: str) -> list[str]:
        return texts(check_login(ClassLogin.model_validate({"class": name})))

    assert texts(check_login("links")) == []
    assert texts(check_login(None)) == []
    assert said("dummy") == []
    assert said("Dummy") == []
    assert said("oauthenticator.generic.GenericOAuthenticator") == []
    assert said("oauthenticator.generic:GenericOAuthenticator") == []
    assert said("nonsense") == ["no authenticator is called 'nonsense'"]
    assert "cannot be imported" in said("oauthenticator.generic.Nonsense")[0]
    assert "cannot be imported" in said("no.such.Thing")[0]


def test_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    (trouble,) = machine.check_open_files(Settings())
    assert (trouble.text, trouble.remedy) == (
        "only 256 files may be open at once; 1024 are needed",
        "run `ulimit -n 1024` before `sampan up`",
    )
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 2048))
    assert list(machine.check_open_files(Settings())) == []
    (trouble,) = machine.check_open_files(Settings(profile="site"))
    assert "limits.conf" in trouble.remedy
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert list(machine.check_open_files(Settings(profile="site"))) == []
    of_process = {7: (resource.RLIM_INFINITY, resource.RLIM_INFINITY), 8: (65536, 65536), 9: (512, 512)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    monkeypatch.setattr(resource, "prlimit", lambda pid, _: of_process[pid])
    assert list(machine.check_open_files(Settings(profile="site"), [7, 8])) == [], (
        "a terminal's own limits are not asked"
    )
    (trouble,) = machine.check_open_files(Settings(profile="site"), [7, 8, 9])
    assert "only 512 files" in trouble.text


def test_an_environment_without_the_client(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    settings = Settings(environments={"default": Environment(prefix=tmp_path)})
    assert texts(machine.check_environments(settings)) == [f"environment default: {tmp_path}/bin/python is not there"]
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys._base_executable} "$@"\n')  # type: ignore[attr-defined]
    python.chmod(0o755)
    assert texts(machine.check_environments(settings)) == [
        "environment default: sampan: ModuleNotFoundError: No module named 'sampan'"
    ]
    python.write_text("not a program")
    (text,) = texts(machine.check_environments(settings))
    assert "cannot be run" in text
    assert (
        list(machine.check_environments(settings.model_copy(update={"backends": {"f": FakeBackend(kind="fake")}})))
        == []
    )


def test_the_user_environment_has_the_client() -> None:
    """The one that `make` installs beside this Python."""
    settings = Settings(environments={"default": Environment(prefix=Path(sys.prefix) / "user")})
    assert texts(machine.check_environments(settings)) == []


def test_check_numbers_its_findings(site: Site) -> None:
    (site.paths.root.parent / "sampan.yaml").write_text("profle: laptop\nurl: 5\n")
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1
    assert result.stdout.splitlines()[0] == "1. sampan.yaml:1:1 profle – unknown key, did you mean 'profile'?"
    assert result.stdout.splitlines()[2].startswith("2. sampan.yaml:2:6 url")
    assert result.stdout.count("   Remedy: ") == 2
    assert result.stdout.splitlines()[-1] == "2 findings"


JOB = {
    "id": "aaaaaaaa.bbbbbbbbbbbbbbbb", "kind": "worker", "owner": "ana", "name": "w-0", "size": "small",
    "memory_bytes": 2 << 30, "state": "running", "state_since": "2026-01-01T00:00:00Z", "reason": None,
    "position": None, "lost": False, "unknown_since": None,
}  # fmt: skip


def test_states_in_words() -> None:
    assert describe_state(JOB) == "running"
    assert describe_state({**JOB, "unknown_since": "x"}) == "running, out of sight"
    assert describe_state({**JOB, "unknown_since": "x", "lost": True}) == "running, lost"
    assert describe_state({**JOB, "state": "accepted", "position": 3}) == "accepted, place 3 in the queue"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (45, "45s"), (190, "3m10s"), (7500, "2h05m"), (4 * 86400 + 3 * 3600, "4d03h")]
)
def test_ages(seconds: int, text: str) -> None:
    assert render_age(timedelta(seconds=seconds)) == text


def test_names_cannot_play_tricks_with_the_terminal() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    odd = {**JOB, "name": "[red]x[/]\x1b[2J", "reason": {"code": "c", "text": "a\nb"}}
    console.print(make_table([odd], datetime(2026, 1, 1, 0, 0, 45, tzinfo=UTC)))
    shown = console.export_text()
    assert "[red]x[/]�[2J" in shown
    assert "45s" in shown
    assert "\x1b" not in shown
