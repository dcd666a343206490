"""The file that `sampan backup` makes, and what `sampan restore` refuses: each a sentence, and nothing is changed."""

from __future__ import annotations

import getpass
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan_hub.backends.local import LocalBackend
from tests.contract.local_jobs import make_spec, processes_of, until
from tests.support.backups import ROOM, end_up, refused
from tests.support.installation import SAMPAN, Installation

ME = getpass.getuser()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Installations of this test; all they started is ended."""
    made: list[Installation] = []

    def _make(name: str, settings: str = "") -> Installation:
        made.append(Installation(tmp_path / name, settings))
        return made[-1]

    yield _make
    for installation in made:
        if (installation.folder / "sampan.yaml").exists():
            installation.stop()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation that has ended, with `saved.tar` of when ana was its only other person."""
    site = Installation(tmp_path_factory.mktemp("saved") / "site", ROOM)
    try:
        site.start()
        site.run("user", "add", "ana")
        said = site.run("backup", "saved.tar").stdout
        assert site.instance in said
        site.run("user", "add", "ben")
        assert "Sampan runs here" in refused(site, "restore", "saved.tar", "--replace")
        end_up(site)
        yield site
    finally:
        site.stop()


def content(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_backup_is_one_private_file_of_everything(saved: Installation) -> None:
    file = saved.folder / "saved.tar"
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as tar:
        names = tar.getnames()
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
    assert names[0] == "manifest.json"
    assert set(names[1:]) == set(manifest["members"])
    assert {"hub.sqlite", "sampan.sqlite", "instance", "settings.yaml", "keys/signing.key"} <= set(names)
    assert any(name.startswith("links/") for name in names), "ana's personal link"
    assert manifest["instance"] == saved.instance
    assert not [path for path in saved.folder.iterdir() if path.name.startswith(".saved")], "no draft is left"
    assert "exists" in refused(saved, "backup", "saved.tar")


def test_a_backup_can_be_sent_through_a_pipe(saved: Installation) -> None:
    sent = subprocess.run(
        [SAMPAN, "backup", "-"], cwd=saved.folder, env=saved.environment, capture_output=True, check=True, timeout=60
    )
    with tarfile.open(fileobj=io.BytesIO(sent.stdout)) as tar:
        manifest = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
        assert set(tar.getnames()) == {"manifest.json", *manifest["members"]}
    assert manifest["instance"] == saved.instance
    assert not [path for path in saved.state.iterdir() if path.name.startswith(".backup")], "no draft is left"


def make_tar(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def flip(file: Path, member: str) -> bytes:
    """The tar with one bit of one member changed."""
    with tarfile.open(file) as tar:
        offset = tar.getmember(member).offset_data + 5
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    return bytes(data)


@pytest.mark.parametrize("fault", ["bit", "cut", "text", "foreign", "later", "outside"])
def test_a_damaged_or_foreign_file_changes_nothing(saved: Installation, fault: str) -> None:
    good = saved.folder / "saved.tar"
    bad = saved.folder / f"{fault}.tar"
    match fault:
        case "bit":
            bad.write_bytes(flip(good, "keys/signing.key"))
        case "cut":
            bad.write_bytes(good.read_bytes()[:-40_000])
        case "text":
            bad.write_text("no tar at all")
        case "foreign":
            make_tar(bad, {"etc/passwd": b"root"})
        case "later":
            make_tar(bad, {"manifest.json": json.dumps({"format": 2, "version": "9.1"}).encode()})
        case "outside":
            make_tar(bad, {"manifest.json": json.dumps(outside_manifest(good)).encode(), "../escaped": b"x"})
    before = content(saved.state)
    said = refused(saved, "restore", str(bad), "--replace")
    assert "cannot be restored" in said
    assert said.endswith("Nothing was changed.")
    if fault == "later":
        assert "9.1" in said
    assert content(saved.state) == before
    assert not (saved.folder / "escaped").exists()


def outside_manifest(good: Path) -> dict[str, Any]:
    """A manifest with a name that leads out of the folder."""
    with tarfile.open(good) as tar:
        manifest: dict[str, Any] = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]
    manifest["members"]["../escaped"] = manifest["members"]["instance"]
    return manifest


async def test_jobs_of_another_installation_are_not_orphaned(saved: Installation) -> None:
    stranger = LocalBackend("local", saved.state / "jobs", "aaaaaaaa", cores_milli=4000, memory_bytes=1 << 30)
    spec = make_spec("aaaaaaaa")
    await stranger.submit([spec])
    try:
        said = refused(saved, "restore", "saved.tar", "--replace")
        assert "1 jobs run here of the installation aaaaaaaa" in said
        assert "sampan down --jobs" in said
    finally:
        await stranger.cancel([spec.identity.job_id])
        await until(lambda: not processes_of(spec.identity.job_id), "the stranger's job ends")
        await stranger.forget([spec.identity.job_id])


def test_restored_into_an_empty_folder_it_serves_as_before(
    saved: Installation, make: Callable[..., Installation]
) -> None:
    fresh = make("fresh")
    (fresh.folder / "sampan.yaml").unlink()
    done = subprocess.run(
        [SAMPAN, "restore", saved.folder / "saved.tar"], cwd=fresh.folder, capture_output=True, text=True, timeout=60,
        env={name: value for name, value in os.environ.items() if name != "SAMPAN_CONFIG"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "settings:" in done.stdout
    assert fresh.instance == saved.instance
    fresh.port, fresh.url = saved.port, saved.url
    fresh.start()
    people = fresh.run("user", "list").stdout.split()
    assert "ana" in people
    assert "ben" not in people, "added after the backup"


def run_on_small_disk(disk: Path, folder: Path, config: str | None, *words: str | Path) -> str:
    """What a command says whose disk at `disk` holds 128 KiB: a file system of its own, gone with it."""
    environment = {name: value for name, value in os.environ.items() if name != "SAMPAN_CONFIG"}
    if config is not None:
        environment["SAMPAN_CONFIG"] = config
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    script = 'mount -t tmpfs -o size=128k,mode=700 none "$0" && exec "$@"'
    argv = ["unshare", *own, "--mount", "sh", "-c", script, disk, SAMPAN, *words]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def test_a_full_disk_is_a_sentence(saved: Installation, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    before = content(saved.state)
    said = run_on_small_disk(disk, saved.folder, str(saved.folder / "sampan.yaml"), "backup", disk / "full.tar")
    assert said == f"sampan: The disk of {disk} is full: make room there. No backup was made."
    state = tmp_path / "fresh" / ".sampan"
    state.mkdir(parents=True)
    said = run_on_small_disk(state, state.parent, None, "restore", saved.folder / "saved.tar")
    assert said == f"sampan: The disk of {state} is full: make room there. Nothing was changed."
    assert list(state.parent.iterdir()) == [state], "no settings were written"
    assert content(saved.state) == before
