"""A notebook whose walltime ends soon: the person at it is told in JupyterLab, and sees when."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.people import chromium
from tests.support.notebook_service import PERSON_TOKEN
from tests.system.timed_site import timed_site

WALLTIME_S = 150
NOTICE_S = 120
START_MS = 90_000


@pytest.mark.timeout(300)
def test_the_end_of_the_walltime_is_told_two_minutes_before(tmp_path: Path) -> None:
    with timed_site(tmp_path, {"notebook": WALLTIME_S}) as site, chromium() as browser:
        context = browser.new_context(extra_http_headers={"Authorization": f"token {PERSON_TOKEN}"})
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{site.notebook['address']['port']}/user/ana/lab")
        item = page.locator(".sampan-StatusItem")
        expect(item).to_have_text(re.compile(r"0\.02 EUR per hour · ends \d\d:\d\d"), timeout=START_MS)
        deadline = datetime.fromisoformat(site.call("GET", f"/jobs/{site.notebook['id']}")["deadline"])
        notice = page.locator(".Toastify__toast", has_text="its walltime is over")
        left = deadline - datetime.now(UTC)
        if left > timedelta(seconds=NOTICE_S + 5):
            expect(notice).to_have_count(0)
        expect(notice).to_be_visible(timeout=(left.total_seconds() - NOTICE_S) * 1000 + 30_000)
        assert deadline - datetime.now(UTC) < timedelta(seconds=NOTICE_S + 1)
        expect(notice).to_contain_text("Save your work now; the server can be started again")
        expect(page.locator(".Toastify__toast")).to_have_count(1)
        context.close()
