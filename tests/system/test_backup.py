"""`sampan restore` under running jobs, and on PostgreSQL."""

from __future__ import annotations

import asyncio
import getpass
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import sqlalchemy as sa

from tests.judge.processes import processes_with_key
from tests.judge.verdict import judge
from tests.postgres import Server, running_server
from tests.support.backups import ROOM, end_up, refused
from tests.support.installation import SAMPAN, Installation, wait_until
from tests.support.kernels import Kernel

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
