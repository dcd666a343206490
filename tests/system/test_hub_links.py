"""Link login on the real hub behind the real proxy."""

from __future__ import annotations

import getpass
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from yarl import URL

from sampan_hub.identity.links import make_link, revoke
from tests.system.hub_fixtures import Browser, Hub, Site, running_site, until

NAME = getpass.getuser()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("links"), "isolation: none\n", names=("proxy", "hub")) as running:
        yield running


def logs_of(site: Site) -> str:
    return site.log("hub") + site.log("proxy")


async def test_a_link_becomes_a_cookie_once_and_leaves_no_trace(site: Site) -> None:
    secret = make_link(site.paths, NAME, "once")
    async with Browser(site) as browser:
        async with browser.session.get(f"{site.url}/hub/link?token={secret}", allow_redirects=False) as answer:
            assert answer.status == 302
            assert secret not in answer.headers["Location"]
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert any("jupyterhub-hub-login" in cookie for cookie in answer.headers.getall("Set-Cookie"))
        assert (await browser.get("/hub/home"))[1].endswith("/hub/home")
    async with Browser(site) as other:
        status, _, body = await other.get(f"/hub/link?token={secret}")
        assert status == 403
        assert "already used or is too old" in body
        assert "sampan link" in body
        assert secret not in body
        assert "/hub/login" in (await other.get("/hub/home"))[1]
    assert secret not in logs_of(site)


async def test_looking_at_a_link_before_opening_it_does_not_spend_it(site: Site) -> None:
    secret = make_link(site.paths, NAME, "once")
    async with Browser(site) as browser:
        async with browser.session.head(f"{site.url}/hub/link?token={secret}") as answer:
            assert answer.status == 405
        await browser.get(f"/hub/link?token={secret}")
        assert (await browser.get("/hub/home"))[1].endswith("/hub/home")
    assert secret not in logs_of(site)


async def test_it_leads_on_only_within_this_hub(site: Site) -> None:
    async with Browser(site) as browser:
        path = f"/hub/link?token={make_link(site.paths, NAME, 'once')}&next=%2Fhub%2Ftoken"
        async with browser.session.get(site.url + path, allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/hub/token"
        path = f"/hub/link?token={make_link(site.paths, NAME, 'once')}&next=https%3A%2F%2Fexample.org%2F"
        async with browser.session.get(site.url + path, allow_redirects=False) as answer:
            assert answer.headers["Location"].startswith("/hub/")


async def test_a_personal_link_works_again_until_it_is_revoked(site: Site) -> None:
    secret = make_link(site.paths, "ben", "personal")
    for _ in range(2):
        async with Browser(site) as browser:
            await browser.get(f"/hub/link?token={secret}")
            _, _, body = await browser.get("/hub/home")
            assert "ben" in body
    revoke(site.paths, "ben")
    async with Browser(site) as browser:
        assert (await browser.get(f"/hub/link?token={secret}"))[0] == 403


async def test_who_is_removed_is_not_let_in_by_an_old_link(site: Site) -> None:
    secret = make_link(site.paths, "cleo", "personal")
    async with Browser(site) as browser, Hub(site) as hub:
        await browser.get(f"/hub/link?token={secret}")
        assert (await hub.call("DELETE", "/users/cleo"))[0] == 204
        assert (await browser.get(f"/hub/link?token={secret}"))[0] == 403


async def test_the_login_page_explains_and_warns(site: Site) -> None:
    async with Browser(site) as browser:
        _, _, body = await browser.get("/hub/login")
    assert "sampan link" in body
    assert "No isolation" in body
    assert "alert-danger" in body


async def test_a_form_sent_to_the_login_page_lets_nobody_in(site: Site) -> None:
    async with Browser(site) as browser:
        await browser.get("/hub/login")
        cookies = browser.session.cookie_jar.filter_cookies(URL(f"{site.url}/hub/"))
        data = {"username": NAME, "password": NAME, "_xsrf": cookies["_xsrf"].value}
        async with browser.session.post(f"{site.url}/hub/login", data=data) as answer:
            assert answer.status == 403
        assert "/hub/login" in (await browser.get("/hub/home"))[1]


async def test_the_starter_administers_and_others_do_not(site: Site) -> None:
    async with Browser(site) as browser, Hub(site) as hub:
        await browser.enter(NAME)
        await browser.enter("ben")
        assert (await hub.call("GET", f"/users/{NAME}"))[1]["admin"] is True
        assert (await hub.call("GET", "/users/ben"))[1]["admin"] is False


async def test_a_link_opened_while_the_proxy_has_no_route_is_kept_out_of_the_log_too(tmp_path: Path) -> None:
    with running_site(tmp_path, names=("proxy", "hub")) as site:
        secret = make_link(site.paths, NAME, "once")
        async with Browser(site) as browser, Hub(site) as hub:
            site.kill("proxy")
            site.start("proxy")
            status, _, _ = await browser.get(f"/hub/link?token={secret}")
            if status == 404:  # before the hub gave the proxy its routes back
                await until(hub.is_known, "the hub gives the routes back")
                await browser.get(f"/hub/link?token={secret}")
            assert (await browser.get("/hub/home"))[1].endswith("/hub/home")
        assert "/hub/error/" in site.log("hub") or status != 404
        assert secret not in logs_of(site)


def test_links_import_nothing_of_the_web() -> None:
    """The command line uses them, and starts fast."""
    code = (
        "import sys, sampan_hub.identity.links; sys.exit(bool({'tornado', 'jupyterhub', 'aiohttp'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
