"""JupyterLab as people meet it: the first login, the status bar, notices with no widget on screen."""

from __future__ import annotations

import os
import re
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.people import Person
from tests.judge.processes import processes_with_key
from tests.support.installation import Installation, wait_until
from tests.support.servers import running_server

START_MS = 120_000
NEWS_MS = 40_000
"""Two of the extension's questions and a slow machine."""
PRICED = """
currency: EUR
sizes:
  small: {cores: 1, memory: 512MiB, price_per_hour: 0.5}
"""
BESIDE = {"/dask/clusters": 200, "/api/metrics/v1": 200, "/git/settings": 200, "/git-pull": 400, "/sampan/status": 200}
"""Where the server extensions that come with ours answer; a pull without a repository is refused by name."""
STATUS = re.compile("/sampan/status")
OURS = re.compile(r"sampan", re.IGNORECASE)


class Lab:
    """A person in JupyterLab, what the console said, and what is in sight."""

    def __init__(self, browser: Browser, site: Installation) -> None:
        self.site = site
        self.name = site.run("user", "list").stdout.split()[0]
        self.person = Person(browser, site, self.name)
        self.page: Page = self.person.page
        self.console: list[str] = []
        self.page.on("console", lambda said: self.console.append(f"{said.type}: {said.text}"))
        self.page.on("pageerror", lambda error: self.console.append(f"error: {error}"))

    @property
    def item(self) -> Locator:
        return self.page.locator(".sampan-StatusItem")

    def notice(self, text: str) -> Locator:
        return self.page.locator(".Toastify__toast", has_text=text)

    def start(self) -> None:
        self.page.get_by_role("button", name=re.compile("start", re.IGNORECASE)).click()
        expect(self.item).to_have_text(re.compile(r"\d"), timeout=START_MS)

    def darken(self) -> None:
        """JupyterLab's dark theme, as its settings keep it."""
        theme = {"raw": '{"theme": "JupyterLab Dark"}'}
        path = f"/user/{self.name}/lab/api/settings/@jupyterlab/apputils-extension:themes"
        assert self.person.call("PUT", path, theme)[0] == 204
        self.page.reload()
        expect(self.page.locator("body[data-jp-theme-light=false]")).to_be_attached(timeout=30_000)
        expect(self.item).to_have_text(re.compile(r"\d"), timeout=START_MS)

    def check_console(self) -> None:
        """No error of ours, and the extensions that come with us are all there."""
        errors = [line for line in self.console if line.startswith("error") and OURS.search(line)]
        assert not errors, self.console
        named = self.page.evaluate("JSON.parse(document.getElementById('jupyter-config-data').textContent)")
        loaded = {extension["name"] for extension in named["federated_extensions"]}
        beside = {"dask-labextension", "@jupyter-server/resource-usage", "@jupyterlab/git", "@sampan/lab"}
        assert beside <= loaded

    def close(self) -> None:
        self.person.close()


@pytest.mark.timeout(400)
def test_the_first_login_opens_the_first_notebook(browser: Browser, tmp_path: Path) -> None:
    site = Installation(tmp_path / "site")
    try:
        site.start()
        lab = Lab(browser, site)
        lab.start()
        expect(lab.page.locator(".lm-TabBar-tab.lm-mod-current", has_text="start.ipynb")).to_be_visible(timeout=30_000)
        assert (site.folder / "start.ipynb").exists()
        assert {path.name for path in (site.folder / "examples").iterdir()} >= {"flights.ipynb"}
        expect(lab.item).to_have_text("1 job · 1 core", timeout=NEWS_MS)
        run_the_first_cell(lab)
        lab.person.shot("lab-first-login")
        lab.check_console()
        assert lab.page.locator(".Toastify__toast").count() == 0, "JupyterLab asks whether one wants news"

        lab.page.goto(f"{site.url}/user/{lab.name}/")
        expect(lab.item).to_have_text(re.compile(r"\d"), timeout=START_MS)
        assert lab.page.url.endswith(f"/user/{lab.name}/lab"), "the second time, JupyterLab is as it was left"
        lab.close()
    finally:
        site.stop()


def run_the_first_cell(lab: Lab) -> None:
    """Four workers answer, and the status bar counts them."""
    cell = lab.page.locator(".jp-Notebook .jp-CodeCell").first
    cell.locator(".cm-content").click()
    expect(lab.page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible(timeout=30_000)
    lab.page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-OutputArea-output", has_text="332833500")).to_be_visible(timeout=60_000)
    expect(lab.item).to_have_text("5 jobs · 5 cores", timeout=NEWS_MS)


@pytest.mark.timeout(400)
def test_notices_come_with_no_widget_on_screen(browser: Browser, tmp_path: Path) -> None:
    site = Installation(tmp_path / "site", PRICED)
    try:
        site.start()
        lab = Lab(browser, site)
        lab.start()
        expect(lab.item).to_have_text("0.50 EUR per hour", timeout=NEWS_MS)
        lose_a_worker(lab)
        site.run("pause", "Maintenance until three.")
        expect(lab.notice("Maintenance until three.")).to_be_visible(timeout=NEWS_MS)
        site.run("resume")
        expect(lab.notice("Maintenance until three.")).to_have_count(0, timeout=NEWS_MS)
        lab.darken()
        keep_an_idle_notebook(lab)
        lose_the_service(lab)
        lab.check_console()
        lab.close()
    finally:
        site.stop()


def lose_a_worker(lab: Lab) -> None:
    """A worker killed from outside is told, with its reason, and leads to My work."""
    cell = lab.page.locator(".jp-Notebook .jp-CodeCell").first
    cell.locator(".cm-content").click()
    expect(lab.page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible(timeout=30_000)
    lab.page.keyboard.press("Shift+Enter")
    expect(cell.locator(".jp-OutputArea-output", has_text="332833500")).to_be_visible(timeout=60_000)
    expect(lab.item).to_have_text("2.50 EUR per hour", timeout=NEWS_MS)
    victim = next(process for process in processes_with_key(lab.site.instance) if process.entry == "worker")
    os.kill(victim.pid, signal.SIGKILL)
    notice = lab.notice("ended:")
    expect(notice).to_be_visible(timeout=NEWS_MS)
    expect(notice).to_contain_text(re.compile(r"^Worker cluster-.* ended: .*killed", re.IGNORECASE))
    lab.person.shot("lab-worker-lost")
    with lab.page.context.expect_page() as opened:
        notice.get_by_role("button", name="My work").click()
    expect(opened.value).to_have_url(re.compile("/services/sampan/work"), timeout=15_000)
    opened.value.close()


def keep_an_idle_notebook(lab: Lab) -> None:
    """The end is told while it is near (the time left is made up); Keep reaches the service and ends the notice."""
    before = notebook_of(lab)["busy_at"]
    lab.page.route(STATUS, lambda route: answer_with(route, idle_in_s=290))
    notice = lab.notice("This notebook is stopped at")
    expect(notice).to_be_visible(timeout=NEWS_MS)
    lab.person.shot("lab-idle-end")
    lab.page.unroute(STATUS)
    notice.get_by_role("button", name="Keep").click()
    expect(notice).to_have_count(0, timeout=NEWS_MS)
    wait_until(lambda: notebook_of(lab)["busy_at"] != before, 10, "the service counts the notebook as used")


def lose_the_service(lab: Lab) -> None:
    """A service that is away for a while is told, and its return."""
    lab.page.route(STATUS, lambda route: answer_with(route, unreachable_s=20))
    expect(lab.notice("The compute service does not answer")).to_be_visible(timeout=NEWS_MS)
    lab.person.shot("lab-service-away")
    lab.page.unroute(STATUS)
    expect(lab.notice("The compute service is back")).to_be_visible(timeout=NEWS_MS)
    expect(lab.notice("The compute service does not answer")).to_have_count(0)


def answer_with(route: Route, **changes: Any) -> None:
    """The server's own answer, with these figures in place of its own."""
    answer = route.fetch()
    route.fulfill(response=answer, json={**answer.json(), **changes})


def notebook_of(lab: Lab) -> dict[str, Any]:
    return next(job for job in lab.person.jobs() if job["kind"] == "notebook")


class KeepRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@pytest.mark.timeout(120)
def test_in_a_clone_its_own_examples_are_opened(tmp_path: Path) -> None:
    examples = tmp_path / "site" / "examples"
    examples.mkdir(parents=True)
    (examples / "start.ipynb").write_text("{}")
    with running_server(tmp_path) as server:
        places = [first_place(server.url, server.token) for _ in range(2)]
        assert [place.removeprefix(f"/user/{server.name}") for place in places] == [
            "/lab/tree/examples/start.ipynb",
            "/lab",
        ]
        for path, status in BESIDE.items():
            assert server.call("GET", path)[0] == status, path
    assert sorted((tmp_path / "site").rglob("*.ipynb")) == [examples / "start.ipynb"]


def first_place(url: str, token: str) -> str:
    """Where somebody is sent who opens the server."""
    request = urllib.request.Request(f"{url}/sampan/first", headers={"Authorization": f"token {token}"})
    opener = urllib.request.build_opener(KeepRedirects)
    with pytest.raises(urllib.error.HTTPError) as raised:
        opener.open(request, timeout=30)
    with raised.value as answer:
        assert answer.code == 302
        return str(answer.headers["Location"])
