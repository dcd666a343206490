"""A real Chromium (Debian's) against a real installation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.people import SCREENSHOTS, WIDE, Person, chromium
from tests.support.installation import Installation


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a fresh Chromium with no memory of earlier tests."""
    with chromium() as browser:
        yield browser.new_page(viewport={"width": WIDE, "height": 800})


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the tests of a file; whoever uses it has a session of their own."""
    with chromium() as running:
        yield running


@pytest.fixture
def ana(site: Installation, browser: Browser) -> Iterator[Person]:
    """Ana on the file's own `site`, logged in; so are ben and eve."""
    yield from _somebody(browser, site, "ana")


@pytest.fixture
def ben(site: Installation, browser: Browser) -> Iterator[Person]:
    yield from _somebody(browser, site, "ben")


@pytest.fixture
def eve(site: Installation, browser: Browser) -> Iterator[Person]:
    yield from _somebody(browser, site, "eve")


def _somebody(browser: Browser, site: Installation, name: str) -> Iterator[Person]:
    person = Person(browser, site, name)
    yield person
    person.end_everything()
    person.close()


@pytest.fixture
def screenshots() -> Path:
    SCREENSHOTS.mkdir(exist_ok=True)
    return SCREENSHOTS


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    running = Installation(tmp_path / "site")
    try:
        running.start()
        yield running
    finally:
        running.stop()
