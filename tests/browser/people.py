"""People in front of a browser: logged in by their link, every request and complaint of their pages on record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.installation import Installation, wait_until

CHROMIUM = Path("/usr/bin/chromium")
SCREENSHOTS = Path(__file__).parent / "screenshots"
API = "/services/sampan/api/v1"
Theme = Literal["light", "dark"]
WIDE, NARROW = 1280, 360
TRACES = ("Traceback", "Error(", "Exception", "SpawnRefused", "sampan_hub", "HTTPError")
"""What no page may show: class names and tracebacks."""

OUR_TEXT = """() => {
  const body = document.body.cloneNode(true);
  body.querySelectorAll(".sampan-log, script, style").forEach((other) => other.remove());
  return body.textContent;
}"""
"""All that a page says by itself; what a job wrote into its log is the job's."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    assert CHROMIUM.exists(), "browser tests need Debian's chromium: apt-get install chromium"
    arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """One person with a browser of their own, logged in."""

    def __init__(
        self, browser: Browser, site: Installation, name: str, *, theme: Theme = "light", width: int = WIDE
    ) -> None:
        self.site = site
        self.name = name
        self.theme = theme
        self.width = width
        self.asked: set[str] = set()
        """Hosts that any page asked for anything."""
        self.complaints: list[str] = []
        self._token: str | None = None
        context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800})
        self.page: Page = context.new_page()
        self.page.on("request", lambda request: self.asked.add(urlsplit(request.url).netloc))
        self.page.on("pageerror", self._note_error)
        self.page.on("dialog", lambda dialog: dialog.accept())
        printed = site.run("link", name).stdout
        found = re.search(r"http://\S+token=\S+", printed)
        assert found, printed
        self.page.goto(found.group())

    def _note_error(self, error: Any) -> None:
        if "/user/" not in self.page.url:  # JupyterLab's own scripts are not ours
            self.complaints.append(f"{self.page.url}: {error}")

    def close(self) -> None:
        """End the browser's session; its pages asked nobody else, and no script of theirs failed."""
        self.page.context.close()
        outside = {host for host in self.asked if host and host != f"127.0.0.1:{self.site.port}"}
        assert not outside, f"pages asked other hosts: {outside}"
        assert not self.complaints, self.complaints

    def go(self, path: str) -> int:
        """The status of this page."""
        answer = self.page.goto(f"{self.site.url}{path}")
        assert answer is not None
        return answer.status

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request to the hub or the service with a token of theirs."""
        self._token = self._token or self.site.token(self.name)
        return self.site.call(method, path, self._token, body)

    def jobs(self) -> list[dict[str, Any]]:
        """Their jobs that have not ended, as the service tells."""
        status, answer = self.call("GET", f"{API}/jobs")
        assert status == 200, answer
        return [job for job in answer["jobs"] if job["state"] != "ended" and job["owner"] == self.name]

    def end_everything(self) -> None:
        """Nothing of theirs runs any more when this returns."""
        ids = [job["id"] for job in self.jobs()]
        if ids:
            self.call("POST", f"{API}/jobs/stop", {"ids": ids})
        for cluster in self.call("GET", f"{API}/clusters")[1]["clusters"]:
            self.call("DELETE", f"{API}/clusters/{cluster['id']}")
        wait_until(lambda: not self.jobs(), 30, f"everything of {self.name} ends")

    def shot(self, name: str) -> Path:
        """A picture of the page as it is, named by theme and width where these are not the usual."""
        SCREENSHOTS.mkdir(exist_ok=True)
        extra = ("-dark" if self.theme == "dark" else "") + ("" if self.width == WIDE else f"-{self.width}")
        path = SCREENSHOTS / f"{name}{extra}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def check_page(self) -> None:
        """No serious fault by axe-core (contrast is one), nothing beyond the right edge, no class name or traceback."""
        faults = [
            f"{fault['id']}: {node['target']} {node['html'][:120]}"
            for fault in Axe().run(self.page)["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]
        assert not faults, f"{self.page.url}:\n" + "\n".join(faults)
        shown_width = self.page.evaluate("document.documentElement.scrollWidth")
        assert shown_width <= self.width, f"{self.page.url} is {shown_width} px wide at {self.width}"
        text = self.page.evaluate(OUR_TEXT)
        assert not [trace for trace in TRACES if trace in text], text
