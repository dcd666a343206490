"""The first hour's promises that need no browser, by their numbers; the others are in `tests/browser`.

02 and 05: `test_first_hour.py` there; 03, 04 (the form), 06, 07 (the page): `test_spawn_page.py`; 09: `test_pages.py`.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.installation import Installation, wait_until
from tests.support.kernels import Kernel

ME = getpass.getuser()
API = "/services/sampan/api/v1"
SETTINGS = """
  broken:
    prefix: {folder}/broken
backends: {{local: {{kind: local, cores: 8, memory: 4G}}}}
sizes: {{small: {{cores: 1, memory: 512M}}}}
limits: {{user: {{jobs: 2}}, raised_by: the help desk}}
"""
BROKEN = "#!/bin/sh\nseq -f 'line %g' 1 300\necho 'cannot import name numpy'\nexit 3\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp("hour") / "site"
    python = folder / "broken" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(BROKEN)
    python.chmod(0o755)
    running = Installation(folder, SETTINGS.format(folder=folder))
    try:
        running.start()
        yield running
    finally:
        running.stop()


def links_in(text: str) -> list[str]:
    return re.findall(r"http://\S+", text)


def log_in(link: str) -> str:
    """Where a browser of its own ends up that opens this link."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with opener.open(link, timeout=30) as answer:
        return str(answer.url)


def test_first_hour_01_one_link_and_a_second_up_prints_a_fresh_one(site: Installation) -> None:
    first = links_in(site.printed.read_text())
    assert len(first) == 1
    before = {name: site.process(name) for name in ("proxy", "hub", "service")}
    again = site.run("up")
    assert again.returncode == 0
    assert again.stdout.splitlines()[0] == "already running"
    second = links_in(again.stdout)
    assert len(second) == 1
    assert second != first
    assert {name: site.process(name) for name in before} == before
    for link in (second[0], first[0]):  # the fresh one works, and the first one still does
        assert re.search("/hub/(spawn|home)|/user/", log_in(link))
        with pytest.raises(urllib.error.HTTPError, match="403"):
            log_in(link)  # once


def names_all(refusal: str) -> bool:
    """Limit, use, what was asked, who can raise it."""
    return all(part in refusal for part in ("limit", "2", "in use", "asked for", "the help desk"))


@pytest.mark.timeout(180)
async def test_first_hour_04_a_refusal_names_all_in_api_exception_and_cli(site: Installation) -> None:
    token = site.token(ME)
    status, answer = site.call("POST", f"/hub/api/users/{ME}/server", token, {})
    assert status in (201, 202), answer
    wait_until(lambda: site.call("GET", f"/user/{ME}/api/status", token)[0] == 200, 60, "the server answers")
    async with aiohttp.ClientSession() as http:
        kernel = await Kernel.start(http, f"{site.url}/user/{ME}/", token)
        code = (
            "import json\nfrom sampan import Cluster, Refused\ncluster = Cluster(1)\ntry:\n    cluster.scale(2)\n"
            "except Refused as no:\n    print(json.dumps([str(no), no.limit, no.used, no.asked, no.raised_by]))\n"
        )
        said = json.loads((await kernel.execute(code, 90)).checked().text)
        assert names_all(said[0]), said
        assert said[1:] == ["user.jobs", 2, 1, "the help desk"]
        # problem details (RFC 9457), for whoever asks the API itself; through the hub the same sentence
        status, problem = site.call("POST", f"/hub/api/users/{ME}/servers/more", token, {})
        assert status == 429
        assert names_all(problem["message"]), problem
        (await kernel.execute("cluster.close()", 60)).checked()
    body = {"batch": "hour", "base": {"kind": "worker"}, "items": [{"name": f"w-{number}"} for number in range(3)]}
    status, answer = site.call("POST", f"{API}/jobs", token, body)
    problems = [item["problem"] for item in answer.get("items", []) if item.get("problem")] or [answer]
    for problem in problems:
        assert {"type", "title", "status", "detail"} <= problem.keys()
    stop_all(site, token)


def stop_all(site: Installation, token: str) -> None:
    ids = [job["id"] for job in listed(site) if job["state"] != "ended"]
    if ids:
        site.call("POST", f"{API}/jobs/stop", token, {"ids": ids})
    wait_until(lambda: all(job["state"] == "ended" for job in listed(site)), 30, "everything of mine ends")


def listed(site: Installation) -> list[dict[str, Any]]:
    return list(json.loads(site.run("jobs", "--all", "--json").stdout)["jobs"])


@pytest.mark.timeout(120)
def test_first_hour_07_the_log_of_a_failed_start_stays_readable_for_its_owner(site: Installation) -> None:
    token = site.token(ME)
    site.call("POST", f"/hub/api/users/{ME}/servers/failing", token, {"environment": "broken"})
    job = wait_until(
        lambda: next((job for job in listed(site) if job["name"] == "failing" and job["state"] == "ended"), None),
        60,
        "the start fails",
    )
    assert "exit code 3" in job["reason"]["text"]
    # the command line
    lines = site.run("log", job["id"]).stdout.splitlines()
    assert len(lines) == 200
    assert lines[-1] == "cannot import name numpy"
    assert "line 300" in lines
    # the API as its owner: what the page and Python stand on
    status, answer = site.call("GET", f"{API}/jobs/{job['id']}/log?lines=200", token)
    assert (status, answer["lines"]) == (200, lines)
    # for 7 days, unless the settings say otherwise
    assert "keep_logs: 7d" in site.run("config", "show").stdout


def test_first_hour_08_check_numbers_its_findings_and_their_remedies(site: Installation) -> None:
    well = site.run("check", check=False)
    key = site.state / "keys" / "cli-token"
    key.chmod(0o644)
    folder_mode = site.state.stat().st_mode & 0o777
    site.state.chmod(0o755)
    try:
        found = site.run("check", check=False)
    finally:
        key.chmod(0o600)
        site.state.chmod(folder_mode)
    assert found.returncode == 1
    lines = found.stdout.splitlines()
    numbers = [int(match[1]) for line in lines if (match := re.match(r"(\d+)\. ", line))]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 2
    assert len([line for line in lines if line.startswith("   Remedy: ")]) == len(numbers)
    assert f"chmod 600 {key}" in found.stdout
    assert well.returncode == (0 if "no findings" in well.stdout else 1)
    assert len(numbers) > well.stdout.count("Remedy:")


def traces_of(site: Installation) -> list[str]:
    """From /proc alone: every process whose command line, folder or environment leads to this installation."""
    mark, found = str(site.folder).encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            if (folder / "stat").read_text().rpartition(") ")[2][0] in "ZX":
                continue
            command = (folder / "cmdline").read_bytes()
            place = bytes((folder / "cwd").readlink())
            if mark in command or mark in place or mark in (folder / "environ").read_bytes():
                found.append(f"{folder.name}: {command.decode(errors='replace')}")
        except OSError:
            continue  # it ended meanwhile, or is somebody else's
    return found


@pytest.mark.timeout(180)
def test_first_hour_10_down_stops_everything_it_started(tmp_path: Path) -> None:
    site = Installation(tmp_path / "site")
    try:
        site.start()
        token = site.token(ME)
        assert site.call("POST", f"/hub/api/users/{ME}/server", token, {})[0] in (201, 202)
        wait_until(lambda: site.call("GET", f"/user/{ME}/api/status", token)[0] == 200, 60, "the server answers")
        assert site.call("POST", f"/user/{ME}/api/kernels", token, {})[0] == 201
        assert len(traces_of(site)) > 5
        site.run("down", "--jobs")
        assert site.up is not None
        assert site.up.wait(30) == 0
        wait_until(lambda: traces_of(site) == [], 15, f"nothing is left of it: {traces_of(site)}")
    finally:
        site.stop()
