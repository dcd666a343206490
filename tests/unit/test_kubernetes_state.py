"""What each side of an installation in a cluster is given, and a backup that the hub's side restores at its start."""

from __future__ import annotations

import base64
import io
import json
import sqlite3
import stat
import tarfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509

from sampan_hub.cli.archive.manifest import BackupError
from sampan_hub.cli.backup import save
from sampan_hub.cli.kubernetes.filling import fill_hub, fill_proxy
from sampan_hub.cli.kubernetes.restoring import lay_down, restore_waiting, waiting_file
from sampan_hub.cli.main import main
from sampan_hub.cli.supervise.filled import ensure_filled
from sampan_hub.cli.supervise.prepare import CannotStart
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.layout import Layout
from sampan_hub.settings.model import Settings
from sampan_hub.trust.authority import is_issued_by, names_of
from sampan_hub.trust.keyring import make_missing

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TRIAL = {"postgresql-password", "database-url", "hub-database-url"}
LAYOUT = Layout(
    proxy_api="https://proxy-api:8444",
    hub="https://hub:8443",
    service="https://hub:8444",
    entry_names=("proxy-public",),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The Secret as it is mounted: readable by the group, every file a link."""
    folder, data = tmp_path / "keys", tmp_path / "keys" / "..data"
    data.mkdir(parents=True)
    for name, content in make_missing({}, "science", NOW).items():
        (data / name).write_bytes(content)
        (data / name).chmod(0o440)
        (folder / name).symlink_to(f"..data/{name}")
    return folder


def site_in(folder: Path) -> Site:
    settings = Settings(profile="site", url="https://s.example.org/", listen=":8443", tls="own", layout=LAYOUT)
    return Site(settings.model_copy(update={"state_dir": folder / "state"}), None)


def test_the_hubs_side_gets_everything(tmp_path: Path, source: Path) -> None:
    site = site_in(tmp_path)
    fill_hub(site, LAYOUT, source, NOW)
    for name in ("hub", "service", "hub-entry", "service-entry"):
        ensure_filled(site, name)
    assert_private(site)
    first = {path: path.read_bytes() for path in site.paths.tls.iterdir()}
    fill_hub(site, LAYOUT, source, NOW)
    assert {path: path.read_bytes() for path in site.paths.tls.iterdir()} == first, "again changes nothing"
    assert names_of(certificate(site, "hub")) == {"hub"}
    (source / "cli-token").unlink()
    (source / "cli-token").write_bytes(b"another")
    fill_hub(site, LAYOUT, source, NOW)
    assert site.paths.key("cli-token").read_bytes() == b"another\n", "what the Secret says counts"


def test_the_proxys_side_gets_certificates_and_its_token(tmp_path: Path, source: Path) -> None:
    site = site_in(tmp_path)
    for name in ("service.key", "signing.key", "secrets.key", "hub-cookie", "cli-token", "jobs-ca.key"):
        (source / name).unlink()
    fill_proxy(site, LAYOUT, source, NOW)
    ensure_filled(site, "proxy")
    assert_private(site)
    assert {path.name for path in site.paths.keys.iterdir()} == {"proxy-token"}
    assert {path.name for path in site.paths.tls.iterdir()} == {
        *(f"{stem}.{ending}" for stem in ("entry", "front", "proxy-api") for ending in ("crt", "key")),
        "front-ca.crt",
        "upstream-ca.crt",
    }
    assert names_of(certificate(site, "entry")) == {"s.example.org", "proxy-public"}
    assert names_of(certificate(site, "proxy-api")) == {"proxy-api"}
    upstream = x509.load_pem_x509_certificates((site.paths.tls / "upstream-ca.crt").read_bytes())
    assert [each.subject.rfc4514_string() for each in upstream] == ["CN=Sampan jobs", "CN=Sampan internal"]
    assert is_issued_by(certificate(site, "proxy-api"), upstream[1])


def certificate(site: Site, stem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((site.paths.tls / f"{stem}.crt").read_bytes())


def assert_private(site: Site) -> None:
    for path in (site.paths.root, *site.paths.root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.fixture
def site(tmp_path: Path, source: Path) -> Site:
    """The hub's side of an installation that served, with one thing in its database, and `backup.tar` of it."""
    made = site_in(tmp_path)
    fill_hub(made, LAYOUT, source, NOW)
    for file in (made.paths.hub_sqlite, made.paths.sampan_sqlite):
        put(file, "saved")
    made.paths.instance.write_text("abcdefgh\n")
    save(made, tmp_path / "backup.tar", NOW)
    for file in (made.paths.hub_sqlite, made.paths.sampan_sqlite):
        put(file, "later")
    return made


def put(file: Path, thing: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS some (thing)")
        connection.execute("INSERT INTO some VALUES (?)", (thing,))


def things(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [thing for (thing,) in connection.execute("SELECT thing FROM some ORDER BY rowid")]


def lay_down_file(site: Site, file: Path) -> str:
    with file.open("rb") as source:
        return lay_down(site, source)


def test_a_backup_waits_for_the_next_start_and_is_restored_once(site: Site, tmp_path: Path) -> None:
    assert restore_waiting(site, NOW) == []
    assert "installation abcdefgh as of 2026-11-23" in lay_down_file(site, tmp_path / "backup.tar")
    assert stat.S_IMODE(waiting_file(site).stat().st_mode) == 0o600
    assert things(site.paths.hub_sqlite) == ["saved", "later"], "not while it runs"
    said = restore_waiting(site, NOW)
    assert said[0] == "restored: installation abcdefgh as of 2026-11-23 00:00 UTC"
    for file in (site.paths.hub_sqlite, site.paths.sampan_sqlite):
        assert things(file) == ["saved"]
    ensure_filled(site, "hub")
    assert restore_waiting(site, NOW) == []


def test_a_backup_of_other_keys_is_not_taken(site: Site, tmp_path: Path) -> None:
    site.paths.key("signing.key").write_text("another\n")
    (site.paths.tls / "jobs-ca.key").write_text("another\n")
    with pytest.raises(
        BackupError, match=r"other keys than the backup \(jobs-ca\.key, signing\.key\): install it anew"
    ):
        lay_down_file(site, tmp_path / "backup.tar")
    assert not waiting_file(site).exists()


def test_a_damaged_backup_is_not_taken(site: Site, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="no backup"):
        lay_down(site, io.BytesIO(b"something else"))
    half = (tmp_path / "backup.tar").read_bytes()[:-20_000]
    with pytest.raises(BackupError, match="damaged"):
        lay_down(site, io.BytesIO(half))
    assert not [path for path in site.paths.root.iterdir() if "restor" in path.name], "nothing is left"


def test_what_cannot_be_restored_keeps_one_start_from_succeeding(site: Site, tmp_path: Path) -> None:
    lay_down_file(site, tmp_path / "backup.tar")
    with tarfile.open(waiting_file(site), "w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))
    with pytest.raises(CannotStart, match=r"kept as .*restore\.refused\.tar; the next start goes on without it"):
        restore_waiting(site, NOW)
    assert restore_waiting(site, NOW) == []
    assert things(site.paths.hub_sqlite) == ["saved", "later"]


def test_the_keys_of_a_backup_can_be_printed_for_another_cluster(site: Site, tmp_path: Path, source: Path) -> None:
    words = ["kubernetes", "keys", "--print", "--trial-database", "db", "--backup", str(tmp_path / "backup.tar")]
    printed = json.loads(CliRunner().invoke(main, words).stdout)["data"]
    kept = {path.name: path.read_bytes().strip() for path in source.iterdir() if path.is_file()}
    assert {name: base64.b64decode(printed[name]).strip() for name in kept} == kept
    assert set(printed) == {*kept, *TRIAL}
    assert CliRunner().invoke(main, words[:2] + words[-2:]).exit_code == 2
    (tmp_path / "no.tar").write_bytes(b"no backup")
    wrong = CliRunner().invoke(main, ["kubernetes", "keys", "--print", "--backup", str(tmp_path / "no.tar")])
    assert (wrong.exit_code, wrong.stdout) == (1, "")
