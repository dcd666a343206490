"""The service's own pages in a real browser: live, by keyboard, on a phone, in both themes, with nobody else's work."""

from __future__ import annotations

import os
import re
import secrets
import signal
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.people import NARROW, Person
from tests.support.installation import Installation, wait_until

SETTINGS = """
profile: site
login: links
isolation: none
admins: [eve]
currency: EUR
sizes:
  small: {cores: 1, memory: 512M, price_per_hour: 3600}
backends: {local: {kind: local, cores: 6, memory: 3G}}
"""
"""A price of one unit a second, so that a cost is seen to grow."""
PAGES = "/services/sampan"
API = f"{PAGES}/api/v1"
LIVE_MS = 15_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    running = Installation(tmp_path_factory.mktemp("pages") / "site", SETTINGS)
    try:
        running.start()
        running.run("user", "add", "ana", "ben", "eve")
        yield running
    finally:
        running.stop()


def start_server(person: Person) -> str:
    """The id of their server's job, running."""
    status, answer = person.call("POST", f"/hub/api/users/{person.name}/server", {"size": "small"})
    assert status in (201, 202), answer
    wait_until(lambda: [job["state"] for job in person.jobs()] == ["running"], 60, f"{person.name}'s server runs")
    return str(person.jobs()[0]["id"])


def start_cluster(person: Person, workers: int) -> str:
    """The id of a cluster of theirs with so many jobs, which wait for a scheduler that never comes."""
    status, made = person.call("POST", f"{API}/clusters", {"name": "survey"})
    assert status == 200, made
    cluster = str(made["cluster"]["id"])
    body: dict[str, Any] = {
        "batch": secrets.token_hex(8),
        "base": {"kind": "worker", "cluster": cluster},
        "items": [{"name": f"worker-{number}"} for number in range(workers)],
    }
    status, answer = person.call("POST", f"{API}/jobs", body)
    assert status == 200, answer
    return cluster


@pytest.mark.timeout(180)
def test_my_work_is_live_from_nothing_to_a_server_and_back(ana: Person) -> None:
    page = ana.page
    ana.go("/hub/home")
    page.get_by_role("link", name="My work").click()
    page.wait_for_url(re.compile(f"{PAGES}/work$"))
    expect(page.get_by_text("Nothing of yours runs.")).to_be_visible()
    expect(page.get_by_text("from sampan import Cluster")).to_be_visible()
    ana.shot("work-empty")
    ana.check_page()
    page.evaluate("window.loadedOnce = true")
    job = start_server(ana)
    row = page.locator(f"[id='job-{job}']")
    expect(row).to_contain_text("running", timeout=LIVE_MS)
    for words in ("default server", "small", "1 core", "512 MiB", "EUR"):
        expect(row).to_contain_text(words)
    ana.shot("work-server")
    ana.check_page()
    row.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Nothing of yours runs.")).to_be_visible(timeout=30_000)
    assert page.evaluate("window.loadedOnce"), "the page was never loaded again"
    page.get_by_text("Ended in the last hour").click()
    expect(row).to_contain_text("ended")
    # its log is there for the days to come
    page.get_by_role("link", name="Everything that ended").click()
    page.locator(f"[id='job-{job}']").get_by_role("link", name="Log").click()
    expect(page.locator(".sampan-log")).to_contain_text(re.compile("jupyter|server", re.I))
    ana.shot("job-ended")
    ana.check_page()


@pytest.mark.timeout(180)
def test_a_cluster_its_workers_and_stopping_what_is_picked(ana: Person) -> None:
    start_server(ana)
    cluster = start_cluster(ana, 3)
    page = ana.page
    ana.go(f"{PAGES}/work")
    card = page.locator(f"[id='cluster-{cluster}']")
    expect(card).to_contain_text("survey")
    expect(card).to_contain_text("3 workers: ", timeout=LIVE_MS)
    card.get_by_text("Workers", exact=True).click()
    # what is picked and open stays so while the page follows the service
    for name in ("worker-0", "worker-1"):
        card.get_by_label(f"Select {name}").check()
    expect(page.get_by_role("button", name="Stop selected (2)")).to_be_enabled()
    ana.shot("work-cluster")
    ana.check_page()
    page.get_by_role("button", name="Stop selected (2)").click()
    expect(card).to_contain_text("1 worker: ", timeout=30_000)
    expect(card.get_by_label("Select worker-2")).to_be_visible()
    card.get_by_role("button", name="Stop cluster survey").click()
    expect(card).to_have_count(0, timeout=30_000)
    expect(page.get_by_role("heading", name="Servers")).to_be_visible()


@pytest.mark.timeout(180)
def test_a_job_page_follows_its_log(ana: Person) -> None:
    job = start_server(ana)
    ana.go(f"{PAGES}/jobs/{job}")
    page = ana.page
    expect(page.locator(".sampan-log")).to_be_visible()
    ana.shot("job")
    ana.check_page()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("main")).to_contain_text("ended", timeout=30_000)


@pytest.mark.timeout(180)
def test_administrators_see_everything_and_stop_many(ana: Person, ben: Person, eve: Person) -> None:
    start_server(ana)
    start_server(ben)
    page = eve.page
    eve.go(f"{PAGES}/work")
    page.get_by_role("link", name="Everything", exact=True).click()
    for name in ("ana", "ben"):
        expect(page.locator(".sampan-job", has_text=f"{name}: default server")).to_be_visible()
    eve.shot("everything")
    eve.check_page()
    page.get_by_label("Filter").fill("BEN running")
    page.keyboard.press("Enter")
    expect(page.locator(".sampan-job")).to_have_count(1)
    page.get_by_label("All shown").check()
    page.get_by_role("button", name="Stop selected (1)").click()
    expect(page.get_by_text("Nothing matches.")).to_be_visible(timeout=30_000)
    wait_until(lambda: not ben.jobs(), 30, "ben's server ends")
    assert len(ana.jobs()) == 1, "what was not shown was not stopped"


def test_a_pause_is_read_by_those_who_want_to_start(ana: Person, eve: Person) -> None:
    page = eve.page
    eve.go(f"{PAGES}/everything")
    page.get_by_label("Sentence").fill("Back at noon: <b>disks</b> are replaced.")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Take new work again")).to_be_visible()
    ana.go("/hub/spawn")
    expect(ana.page.get_by_text("Back at noon: <b>disks</b> are replaced.")).to_be_visible()
    ana.go(f"{PAGES}/work")
    expect(ana.page.get_by_text("Back at noon: <b>disks</b> are replaced.")).to_be_visible()
    page.get_by_role("button", name="Take new work again").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


@pytest.mark.timeout(180)
def test_others_work_is_nowhere_and_everything_is_for_administrators(ana: Person, ben: Person) -> None:
    job = start_server(ana)
    assert ben.go(f"{PAGES}/jobs/{job}") == 404
    expect(ben.page.get_by_role("heading", level=1)).to_have_text("Not found")
    ben.shot("not-found")
    ben.check_page()
    assert ben.go(f"{PAGES}/everything") == 403
    ben.check_page()
    expect(ben.page.get_by_role("link", name="Everything", exact=True)).to_have_count(0)
    ben.go(f"{PAGES}/work")
    assert job not in ben.page.content()
    answer = ben.page.evaluate(
        """async ([url, job]) => {
            const token = document.querySelector("[name=_xsrf]").value;
            const body = new URLSearchParams({ _xsrf: token, only: `job:${job}` });
            return (await fetch(url, { method: "POST", body })).status;
        }""",
        [f"{PAGES}/stop", job],
    )
    assert answer == 404
    assert [one["state"] for one in ana.jobs()] == ["running"]


def test_forms_of_other_sites_and_logins_not_begun_here_are_refused(site: Installation, ana: Person) -> None:
    ana.go(f"{PAGES}/work")
    cookies = {cookie["name"]: cookie for cookie in ana.page.context.cookies()}
    session = cookies["sampan-session"]
    assert session["httpOnly"]
    assert session["sameSite"] == "Lax"
    assert session["path"] == f"{PAGES}/"
    header = f"sampan-session={session['value']}"
    for body in ({"only": "job:x"}, {"only": "job:x", "_xsrf": "guessed"}):
        assert status_of(site, f"{PAGES}/stop", header, body) == 403
    assert status_of(site, f"{PAGES}/oauth_callback?code=x&state=y", "") == 403
    assert status_of(site, f"{PAGES}/work/part", "sampan-session=forged") == 302
    assert status_of(site, f"{API}/jobs", header) == 401, "the API takes no cookie"
    # logging out at the hub ends the session here, within the seconds that an answer is remembered
    ana.page.get_by_role("button", name="Logout").click()
    wait_until(lambda: status_of(site, f"{PAGES}/work", header) == 302, 20, "the session ends")
    ana.go("/hub/login")


def status_of(site: Installation, path: str, cookie: str, body: dict[str, str] | None = None) -> int:
    data = urllib.parse.urlencode(body).encode() if body else None
    request = urllib.request.Request(f"{site.url}{path}", data=data, headers={"Cookie": cookie})

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any) -> None:
            return None

    try:
        with urllib.request.build_opener(Stay).open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_api_page_shows_every_operation(site: Installation, ana: Person) -> None:
    ana.go(f"{PAGES}/api")
    page = ana.page
    _, document = site.call("GET", f"{API}/openapi.json", "none")
    operations = sum(len(item) for item in document["paths"].values())
    assert page.locator("details > summary > strong").count() == operations > 10
    page.get_by_text("/api/v1/jobs/stop").click()
    expect(page.get_by_text("Want these jobs stopped.")).to_be_visible()
    page.get_by_role("link", name="StopRequest").click()
    expect(page.locator("#shape-StopRequest")).to_contain_text("list of text")
    ana.shot("api")
    ana.check_page()


@pytest.mark.timeout(300)
def test_first_hour_09_every_page_on_a_phone_and_in_the_dark(site: Installation, browser: Browser, eve: Person) -> None:
    job = start_server(eve)
    start_cluster(eve, 2)
    for theme, width in (("dark", 1280), ("light", NARROW), ("dark", NARROW)):
        person = Person(browser, site, "eve", theme="dark" if theme == "dark" else "light", width=width)
        for path in ("work", "everything", f"jobs/{job}", "ended", "api"):
            assert person.go(f"{PAGES}/{path}") == 200
            person.shot(f"page-{path.partition('/')[0]}")
            person.check_page()
        person.close()
    eve.end_everything()


@pytest.mark.timeout(120)
def test_a_page_says_that_the_service_is_away_and_goes_on(site: Installation, ana: Person) -> None:
    ana.go(f"{PAGES}/work")
    before = site.process("service")
    os.kill(before, signal.SIGKILL)
    away = ana.page.locator("#sampan-away")
    expect(away).to_be_visible(timeout=30_000)
    wait_until(lambda: site.process("service") != before, 30, "sampan up starts it again")
    expect(away).to_be_hidden(timeout=30_000)
    job = start_server(ana)
    expect(ana.page.locator(f"[id='job-{job}']")).to_be_visible(timeout=LIVE_MS)
