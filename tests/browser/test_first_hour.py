"""The first hour in a browser: the first cell of the first notebook, and no class name on any page.

Pictures for the documentation are made on the way where SAMPAN_PICTURES names a folder: `SAMPAN_PICTURES=docs/images`.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.people import TRACES, Person
from tests.judge.processes import processes_with_key
from tests.support.installation import Installation, wait_until

START_MS = 60_000
FIRST_CELL_S = 10
PICTURE_MAX_BYTES = 150_000
PAGES = "/services/sampan"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Installation]:
    running = Installation(tmp_path / "site")
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def person(site: Installation, browser: Browser) -> Iterator[Person]:
    made = Person(browser, site, site.run("user", "list").stdout.split()[0])
    yield made
    made.page.context.close()


def picture(page: Page, name: str) -> None:
    """A picture for the documentation, where one is wanted."""
    folder = os.environ.get("SAMPAN_PICTURES")
    if folder is not None:
        path = Path(folder) / f"{name}.png"
        page.screenshot(path=path)
        assert path.stat().st_size <= PICTURE_MAX_BYTES, f"{path} is too large for the documentation"


@pytest.mark.timeout(240)
def test_first_hour_02_the_first_cell_makes_four_workers_within_ten_seconds(person: Person) -> None:
    page = person.page
    page.set_viewport_size({"width": 1100, "height": 760})
    start = page.get_by_role("button", name=re.compile("start", re.I))
    expect(start).to_be_visible()
    picture(page, "choose-size")
    start.click()

    # The first login opens the first notebook.
    page.wait_for_url(re.compile(r"/lab/.*start\.ipynb"), timeout=START_MS)
    cell = page.locator(".jp-Notebook .jp-CodeCell").first
    expect(cell).to_contain_text("Cluster(4)", timeout=START_MS)
    expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible(timeout=START_MS)
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    begun_s = time.monotonic()
    expect(cell.locator(".jp-OutputArea-output")).to_have_text(re.compile("332833500"), timeout=START_MS)
    took_s = time.monotonic() - begun_s
    wait_until(lambda: count_workers(person.site) == 4, 20, "four workers")
    for _ in range(2):  # a text, then the cell that shows the cluster
        page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-Notebook").get_by_text("4 of 4").first).to_be_visible(timeout=30_000)
    page.keyboard.press("Control+b")  # more of the notebook in the picture
    expect(page.locator(".jp-FileBrowser")).to_be_hidden()
    picture(page, "cluster")
    person.go(f"{PAGES}/work")
    expect(page.locator("main")).to_contain_text("4 workers")
    picture(page, "my-work")
    assert took_s <= FIRST_CELL_S, f"{took_s:.1f} s on a machine with load {os.getloadavg()[0]:.0f}"


def count_workers(site: Installation) -> int:
    """Worker processes, from /proc alone."""
    return len([process for process in processes_with_key(site.instance) if process.entry == "worker"])


WRONG = (
    "/hub/nothing-here",
    "/hub/spawn/nobody",
    "/hub/user/nobody/",
    "/hub/user-redirect/nowhere",
    "/hub/link?token=guessed",
    "/hub/api/nothing",
    "/hub/login?next=//elsewhere.example.org",
    "/user/nobody/lab",
    "/user/{name}/nothing-here",
    "/nothing-here",
    f"{PAGES}/nothing-here",
    f"{PAGES}/jobs/nothing",
    f"{PAGES}/jobs/aaaaaaaa.aaaaaaaaaaaaaaaa",
    f"{PAGES}/ended?before=yesterday",
    f"{PAGES}/work?%00",
    f"{PAGES}/oauth_callback?state=x&code=y",
    f"{PAGES}/api/v1/jobs?state=nonsense&revision=many",
    f"{PAGES}/api/v1/nothing",
)


def check_text(person: Person, path: str) -> None:
    text = person.page.locator("body").inner_text()
    assert text.strip(), f"{path} is empty"
    shown = [trace for trace in TRACES if trace in text]
    assert not shown, f"{path} shows {shown}:\n{text}"


@pytest.mark.timeout(240)
def test_first_hour_05_no_class_name_or_traceback_on_any_page(person: Person, site: Installation) -> None:
    for path in ("/hub/home", "/hub/spawn", "/hub/token", f"{PAGES}/work", f"{PAGES}/ended", f"{PAGES}/api"):
        assert person.go(path) == 200, path
        check_text(person, path)
    for path in WRONG:
        person.go(path.format(name=person.name))
        check_text(person, path)
    # Also when one of our own processes is away: what answers then is another's page.
    for name, path in (("service", f"{PAGES}/work"), ("service", "/hub/spawn"), ("hub", "/hub/home")):
        before = site.process(name)
        os.kill(before, signal.SIGKILL)
        person.go(path)
        check_text(person, f"{path} without the {name}")
        wait_until(lambda name=name, before=before: site.process(name) != before, 30, f"a new {name}")
        wait_until(lambda path=path: person.go(path) == 200, 60, f"{path} is back")
