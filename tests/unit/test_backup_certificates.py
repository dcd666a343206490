"""Certificates of our own are saved and put back with the rest: people have imported their authority, jobs know it."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from sampan_hub.cli.archive.databases import find_databases
from sampan_hub.cli.archive.manifest import Manifest
from sampan_hub.cli.archive.packing import unpack
from sampan_hub.cli.archive.swapping import Swap
from sampan_hub.cli.backup import save
from sampan_hub.cli.supervise.prepare import ensure_state
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.effective import effective_settings
from sampan_hub.trust.front import open_front

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CROSSING = """
url: https://localhost:8443/
listen: 127.0.0.1:8443
tls: own
backends: {a: {kind: slurm, submit_as: one}}
"""


def make_site(folder: Path, settings: str) -> Site:
    """An installation that was prepared and has its two databases."""
    folder.mkdir()
    (folder / "sampan.yaml").write_text(settings)
    site = Site(effective_settings(folder / "sampan.yaml"), folder / "sampan.yaml")
    ensure_state(site)
    site.paths.instance.write_text("k7c2m4qa\n")
    for database in (site.paths.hub_sqlite, site.paths.sampan_sqlite):
        sqlite3.connect(database).close()
        database.touch(0o600)
    return site


def tls_of(site: Site) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in site.paths.tls.iterdir()}


def restore(site: Site, staged: Path, manifest: Manifest) -> None:
    (staged / "links").mkdir(mode=0o700, exist_ok=True)
    swap = Swap(site, find_databases(site), staged, manifest, NOW)
    swap.keep_databases()
    swap.put_back()


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site", CROSSING)
    before = tls_of(site)
    assert {"ca.crt", "ca.key", "entry.crt", "front-ca.key", "front.key", "jobs-ca.key"} <= before.keys()
    save(site, tmp_path / "saved.tar", NOW)
    manifest = unpack(tmp_path / "saved.tar", tmp_path / "staged")
    other = make_site(tmp_path / "other", CROSSING)
    assert tls_of(other)["ca.key"] != before["ca.key"]
    restore(other, tmp_path / "staged", manifest)
    assert tls_of(other) == before
    open_front(other.paths.tls, datetime.now(UTC))  # refuses what others could read


def test_a_backup_without_them_leaves_them_alone(tmp_path: Path) -> None:
    plain = make_site(tmp_path / "plain", "url: http://127.0.0.1:8000/\n")
    assert not plain.paths.tls.exists()
    save(plain, tmp_path / "saved.tar", NOW)
    manifest = unpack(tmp_path / "saved.tar", tmp_path / "staged")
    site = make_site(tmp_path / "site", CROSSING)
    before = tls_of(site)
    restore(site, tmp_path / "staged", manifest)
    assert tls_of(site) == before
