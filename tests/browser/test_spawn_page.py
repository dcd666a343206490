"""Choosing a size, waiting, and being refused: as a person meets them in a real browser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.people import NARROW, Person
from tests.support.installation import Installation, wait_until

START_MS = 60_000
SETTINGS = """
  broken:
    prefix: {folder}/broken
profile: site
login: links
isolation: none
admins: [eve]
currency: EUR
sizes:
  small: {{cores: 1, memory: 1G, price_per_hour: 0.25}}
  medium: {{cores: 2, memory: 1G, price_per_hour: 0.0625}}
  large: {{cores: 3, memory: 2G}}
projects:
  teaching: {{members: [ana, ben], sizes: [small, medium], backends: [local]}}
  research: {{members: [ana], sizes: [small, large]}}
backends:
  local: {{kind: local, cores: 3, memory: 3G}}
  second: {{kind: local, cores: 2, memory: 2G}}
limits:
  raised_by: the help desk
  users: {{ana: {{cores: 3}}}}
"""
OVER = "Your limit is 3 cores; 2 cores in use, 2 cores asked for. It can be raised by the help desk."
BROKEN = "#!/bin/sh\necho 'cannot import name numpy'\nsleep 2\nexit 3\n"
"""An environment whose Python cannot start anything."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp("spawn") / "site"
    python = folder / "broken" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(BROKEN)
    python.chmod(0o755)
    running = Installation(folder, SETTINGS.format(folder=folder))
    try:
        running.start()
        running.run("user", "add", "ana", "ben", "eve")
        yield running
    finally:
        running.stop()


def start_server(person: Person, name: str = "", **options: str) -> None:
    path = f"/hub/api/users/{person.name}/{f'servers/{name}' if name else 'server'}"
    status, answer = person.call("POST", path, options)
    assert status in (201, 202), answer
    wait_until(lambda: [job["state"] for job in person.jobs()] == ["running"], 60, f"{person.name}'s server runs")


def test_first_hour_03_cards_say_what_one_gets_what_it_costs_and_how_soon(ana: Person) -> None:
    assert ana.go("/hub/spawn") == 200
    page = ana.page
    small = page.locator("label", has=page.locator("input[value=small]")).first
    for words in ("1 core", "1 GiB memory", "0.25 EUR per hour", "starts at once, 3 free now"):
        expect(small).to_contain_text(words)
    expect(page.get_by_label("medium").first).to_be_visible()
    expect(page.locator("label", has_text="0.0625 EUR per hour")).to_be_visible()
    ana.shot("spawn")
    ana.check_page()
    # another project has other sizes; only its own can be chosen and are sent
    page.get_by_label("Project").select_option("research")
    large = page.locator("label", has=page.locator("input[value=large]"))
    expect(large).to_be_visible()
    expect(large).not_to_contain_text("EUR")
    expect(page.locator("input[value=medium]")).not_to_be_visible()
    expect(page.locator("input[value=small]:visible")).to_be_checked()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_form_is_readable_on_a_phone_in_both_themes(site: Installation, browser: Browser, theme: str) -> None:
    person = Person(browser, site, "ana", theme="dark" if theme == "dark" else "light", width=NARROW)
    assert person.go("/hub/spawn") == 200
    person.shot("spawn")
    person.check_page()
    person.close()


@pytest.mark.timeout(180)
def test_by_keyboard_alone_and_the_last_choice_is_remembered(ana: Person) -> None:
    ana.go("/hub/spawn")
    page = ana.page
    expect(page.locator("input[value=small]:visible")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("input[value=medium]")).to_be_checked()
    outline = page.locator("label:has(input[value=medium])").evaluate("card => getComputedStyle(card).outlineStyle")
    assert outline == "solid", "the focus can be seen"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/user/ana/"), timeout=START_MS)
    assert [job["size"] for job in ana.jobs()] == ["medium"]
    ana.end_everything()
    wait_until(lambda: ana.go("/hub/spawn") == 200 and page.locator("form").count(), 20, "the form is back")
    expect(page.locator("input[value=medium]")).to_be_checked()
    expect(page.get_by_label("Environment")).to_have_value("default")


@pytest.mark.timeout(180)
def test_first_hour_04_a_refusal_names_all_it_should_and_survives_on_three_pages(ana: Person) -> None:
    start_server(ana, "first", size="medium", project="teaching")
    status, problem = ana.call("POST", "/hub/api/users/ana/server", {"size": "medium"})
    assert (status, problem["message"]) == (429, OVER)
    ana.go("/hub/spawn")
    page = ana.page
    expect(page.locator("label", has=page.locator("input[value=medium]"))).to_contain_text("over your limit now")
    page.locator("label", has=page.locator("input[value=medium]")).click()
    page.get_by_role("button", name="Start").click()
    refusal = page.locator("#sampan-refusal")
    expect(refusal).to_have_text(OVER)
    expect(refusal).to_be_focused()
    ana.shot("spawn-refused")
    ana.check_page()
    for path in ("/hub/spawn-pending/ana", "/user/ana/lab"):
        ana.go(path)
        expect(page.locator("#sampan-refusal")).to_have_text(OVER)
        ana.check_page()
    ana.shot("user-refused")


@pytest.mark.timeout(180)
def test_first_hour_07_a_failed_start_shows_the_end_of_its_log_and_how_to_go_on(ana: Person) -> None:
    ana.go("/hub/spawn")
    page = ana.page
    page.get_by_label("Environment").select_option("broken")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/hub/spawn-pending/ana"))
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Your server did not start", timeout=START_MS)
    expect(page.locator("#progress-message")).to_contain_text("Your server ended before it was ready")
    expect(page.locator("#progress-message .sampan-log")).to_contain_text("cannot import name numpy")
    ana.shot("start-failed")
    ana.check_page()
    for path in ("/hub/spawn-pending/ana", "/user/ana/lab"):
        ana.go(path)
        expect(page.locator("#sampan-refusal")).to_contain_text("Your server ended before it was ready")
        expect(page.locator("#sampan-refusal .sampan-log")).to_contain_text("cannot import name numpy")
        ana.check_page()
    ana.shot("user-failed")
    page.get_by_role("link", name="All about this start").click()
    expect(page.locator(".sampan-log")).to_contain_text("cannot import name numpy")
    expect(page.locator("main")).to_contain_text("exit code 3")
    ana.check_page()
    ana.go("/hub/spawn")
    page.get_by_label("Environment").select_option("default")


@pytest.mark.timeout(180)
def test_first_hour_06_waiting_shows_its_cause_at_once_and_stays_fresh(ana: Person, ben: Person) -> None:
    start_server(ana, size="large", project="research")
    status, _ = ben.call("POST", "/hub/api/users/ben/servers/earlier", {"size": "small"})
    assert status == 202
    wait_until(lambda: [job["position"] for job in ben.jobs()] == [1], 20, "another server waits in front")
    ben.go("/hub/spawn")
    page = ben.page
    card = page.locator("label", has=page.locator("input[value=small]"))
    expect(card).to_contain_text("queues, position 2")
    card.click()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/hub/spawn-pending/ben"))
    begun_s = time.monotonic()
    expect(page.locator("#progress-message")).to_contain_text("place 2", timeout=2000)
    assert time.monotonic() - begun_s <= 2
    expect(page.locator("#progress-message")).to_contain_text(
        "place 2: 3 cores, 2 GiB of 3 cores, 3 GiB on local are in use"
    )
    ben.shot("waiting")
    ben.check_page()
    ben.call("DELETE", "/hub/api/users/ben/servers/earlier")
    expect(page.locator("#progress-message")).to_contain_text("place 1", timeout=5000)
    ana.end_everything()
    page.wait_for_url(re.compile(r"/user/ben/"), timeout=START_MS)


def test_a_wait_can_be_called_off(ana: Person, ben: Person) -> None:
    start_server(ana, size="large", project="research")
    ben.go("/hub/spawn")
    ben.page.get_by_role("button", name="Start").click()
    ben.page.get_by_role("button", name="Stop waiting").click()
    ben.page.wait_for_url(re.compile("/hub/home"), timeout=20_000)
    wait_until(lambda: not ben.jobs(), 20, "nothing of ben waits any more")


@pytest.mark.timeout(180)
def test_where_it_runs_is_chosen_where_there_is_a_choice_and_the_cards_follow(ana: Person) -> None:
    ana.go("/hub/spawn")
    page = ana.page
    where = page.get_by_label("Where it runs")
    page.get_by_label("Project").select_option("teaching")
    expect(where).to_have_count(1)
    expect(where).not_to_be_visible()
    page.get_by_label("Project").select_option("research")
    expect(where).to_have_value("local")
    small = page.locator("label:visible", has=page.locator("input[value=small]"))
    expect(small).to_contain_text("starts at once, 3 free now")
    where.select_option("second")
    expect(small).to_contain_text("starts at once, 2 free now")
    expect(page.locator("input[value=large]:visible")).to_have_count(0)
    expect(page.locator("input[value=small]:visible")).to_be_checked()
    ana.shot("spawn-backend")
    ana.check_page()
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(r"/user/ana/"), timeout=START_MS)
    assert [(job["project"], job["backend"], job["size"]) for job in ana.jobs()] == [("research", "second", "small")]
    too_large = {"project": "research", "size": "large", "backend": "second"}
    status, problem = ana.call("POST", "/hub/api/users/ana/servers/other", too_large)
    assert (status, problem["message"]) == (400, "size: 'large' needs more than second gives out; allowed: small.")
    ana.end_everything()
    wait_until(lambda: ana.go("/hub/spawn") == 200 and page.locator("form").count(), 20, "the form is back")
    expect(where).to_have_value("second")
    expect(small).to_contain_text("2 free now")
    page.get_by_label("Project").select_option("teaching")
    expect(where).not_to_be_visible()
