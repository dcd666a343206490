"""`sampan backup` and `sampan restore`: under running jobs, over another state, from a damaged file, on PostgreSQL."""

from __future__ import annotations

import asyncio
import getpass
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import sqlalchemy as sa

from sampan_hub.backends.local import LocalBackend
from tests.contract.local_jobs import make_spec, processes_of, until
from tests.judge.processes import processes_with_key
from tests.judge.verdict import judge
from tests.postgres import Server, running_server
from tests.support.installation import SAMPAN, Installation, wait_until
from tests.support.kernels import Kernel

ME = getpass.getuser()
ROOM = "isolation: none\nbackends: {local: {kind: local, cores: 8, memory: 8G}}\nsizes: {s: {cores: 1, memory: 512M}}\n"


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


def end_up(site: Installation) -> None:
    """`sampan down`: jobs run on."""
    site.run("down")
    assert site.up is not None
    site.up.wait(20)


def refused(site: Installation, *words: str) -> str:
    """What it says, on one line, when it does not do it."""
    done = site.run(*words, check=False)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def jobs(site: Installation) -> dict[str, dict[str, Any]]:
    """Every job of the last hour, by id, as the service tells them."""
    return {job["id"]: job for job in json.loads(site.run("jobs", "--all", "--json").stdout)["jobs"]}


def unended(site: Installation) -> frozenset[str]:
    return frozenset(job_id for job_id, job in jobs(site).items() if job["state"] != "ended")


def entries(site: Installation) -> dict[int, str]:
    """From /proc alone: pid and key of every process that is a job."""
    return {process.pid: process.job_id for process in processes_with_key(site.instance) if process.entry}


def start_server(site: Installation, token: str, name: str) -> None:
    path = f"/hub/api/users/{ME}/servers/{name}" if name else f"/hub/api/users/{ME}/server"
    status, answer = site.call("POST", path, token, {})
    assert status in (201, 202), answer
    base = f"/user/{ME}/{name}/" if name else f"/user/{ME}/"
    wait_until(lambda: site.call("GET", f"{base}api/status", token)[0] == 200, 60, f"server {name!r}")


def start_cluster(name: str, workers: int) -> str:
    return (
        f"from sampan import Cluster\n{name} = Cluster({workers}, name='{name}')\n"
        f"{name}_client = {name}.get_client()\n{name}_client.wait_for_workers({workers}, timeout=60)\n"
        f"print({name}_client.submit(sum, range(101)).result())"
    )


@pytest.mark.timeout(480)
async def test_yesterdays_backup_restored_under_running_jobs(make: Callable[..., Installation]) -> None:
    site = make("site", ROOM)
    await asyncio.to_thread(site.start)
    token = site.token(ME)
    await asyncio.to_thread(start_server, site, token, "")
    async with aiohttp.ClientSession() as http:
        kernel = await Kernel.start(http, f"{site.url}/user/{ME}/", token)
        (await kernel.execute(start_cluster("old", 1), 90)).checked()
        await asyncio.to_thread(site.run, "backup", "yesterday.tar")
        known = unended(site)

        # Today: more workers, another cluster, another server. The backup knows none of them.
        (await kernel.execute("old.scale(2); old_client.wait_for_workers(2, timeout=60)", 90)).checked()
        (await kernel.execute(start_cluster("new", 1), 90)).checked()
        await asyncio.to_thread(start_server, site, token, "second")
        asked = unended(site)
        assert len(asked - known) == 3
        before = entries(site)
        await asyncio.to_thread(end_up, site)
        assert "--replace" in refused(site, "restore", "yesterday.tar")
        said = site.run("restore", "yesterday.tar", "--replace").stdout
        assert "is kept in" in said
        await asyncio.to_thread(site.start)

        # What runs is recognised: none ended, none twice, none forgotten.
        await asyncio.to_thread(wait_until, lambda: unended(site) == asked, 60, "every job is on record again")
        verdict = judge(processes_with_key(site.instance), {i: job["state"] for i, job in jobs(site).items()}, asked)
        assert verdict.counts == (0, 0, 0), verdict
        assert entries(site) == before

        # The kernel works on with both clusters, and both still scale.
        both = "print(old_client.submit(sum, range(11)).result(), new_client.submit(sum, range(11)).result())"
        assert (await kernel.execute(both, 60)).checked().text == "55 55\n"
        more = "new.scale(2); new_client.wait_for_workers(2, timeout=60)"
        (await kernel.execute(more, 90)).checked()
        (await kernel.execute("new_client.close(); new.close(); old_client.close(); old.close()", 60)).checked()
    second = [job for job in jobs(site).values() if job["name"] == "second" and job["state"] != "ended"]
    assert [job["kind"] for job in second] == ["notebook"]
    # Its person sees it and stops it, though the restored hub does not know it; a new one starts as ever.
    path = "/services/sampan/api/v1/jobs/stop"
    assert site.call("POST", path, token, {"ids": [second[0]["id"]]})[0] in (200, 202)
    await asyncio.to_thread(wait_until, lambda: second[0]["id"] not in unended(site), 30, "it is stopped")
    await asyncio.to_thread(start_server, site, token, "second")
    kept = list(site.state.glob("before-restore-*/sampan.sqlite"))
    assert len(kept) == 1


# Refusals: each a sentence, and nothing is changed.


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


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running_server() as server:
        yield server


def password_databases(server: Server) -> tuple[str, str]:
    """URLs of two databases of a role that must give its password."""
    with psycopg.connect(host=str(server.socket), user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute("CREATE ROLE keeper LOGIN PASSWORD 'a secret:/@'")
        for name in ("hubs", "jobs"):
            connection.execute(f"CREATE DATABASE {name} OWNER keeper")
        rules = server.socket / "data" / "pg_hba.conf"
        rules.write_text("local all keeper scram-sha-256\n" + rules.read_text())
        connection.execute("SELECT pg_reload_conf()")
    return tuple(  # type: ignore[return-value]
        sa.URL.create("postgresql+psycopg", "keeper", "a secret:/@", database=name, query={"host": str(server.socket)})
        .render_as_string(hide_password=False) for name in ("hubs", "jobs")
    )  # fmt: skip


@pytest.mark.timeout(180)
def test_on_postgresql_both_come_back_and_a_wrong_password_changes_nothing(
    make: Callable[..., Installation], postgres: Server
) -> None:
    hub, service = password_databases(postgres)
    site = make("pg", f"{ROOM}hub_database: {{file: hub-url}}\ndatabase: {{file: service-url}}\n")
    for name, url in (("hub-url", hub), ("service-url", service)):
        (site.folder / name).write_text(url)
        (site.folder / name).chmod(0o600)
    site.start()
    site.run("user", "add", "ana")
    site.run("pause", "Saved while paused.")
    site.run("backup", "saved.tar")
    site.run("resume")
    site.run("user", "add", "ben")
    without = subprocess.run(
        [SAMPAN, "backup", "other.tar"], cwd=site.folder, capture_output=True, text=True, timeout=60,
        env={**site.environment, "PATH": "/nonexistent"},
    )  # fmt: skip
    assert without.returncode == 1
    assert "apt-get install -y postgresql-client" in without.stderr
    end_up(site)

    (site.folder / "service-url").write_text(service.replace("secret", "guess"))
    for words in (("backup", "other.tar"), ("restore", "saved.tar", "--replace")):
        said = refused(site, *words)
        assert "password authentication failed" in said
        assert "guess" not in said
    assert not (site.folder / "other.tar").exists()
    (site.folder / "service-url").write_text(service)

    assert "--replace" in refused(site, "restore", "saved.tar")
    site.run("restore", "saved.tar", "--replace")
    assert len(list(site.state.glob("before-restore-*/*.pgdump"))) == 2
    site.start()
    people = site.run("user", "list").stdout.split()
    assert "ana" in people
    assert "ben" not in people, "added after the backup"
    assert "Saved while paused." in site.run("jobs").stdout
