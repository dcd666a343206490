"""`login: {class, config}` with GenericOAuthenticator against a real OpenID Connect provider, driven by plain HTTP."""

from __future__ import annotations

import html
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from yarl import URL

from tests.support.installation import free_port
from tests.system.hub_fixtures import ROOT, Browser, Hub, Site, find_node

SCRIPT = Path(__file__).parent / "oidc" / "provider.js"
MODULES = Path(os.environ.get("SAMPAN_OIDC", ROOT / ".venv" / "oidc"))
"""Where tests/system/oidc/package.json is installed."""
SECRET = "a-client-secret-of-this-test"
SETTINGS = """
profile: site
isolation: none
admins: [ana]
login:
  class: generic-oauth
  config:
    client_id: sampan
    client_secret: {{env: OIDC_SECRET}}
    oauth_callback_url: {url}/hub/oauth_callback
    authorize_url: {provider}/auth
    token_url: {provider}/token
    userdata_url: {provider}/me
    username_claim: preferred_username
    scope: [openid, profile]
    login_service: the institute
    allowed_users: [ana, ben]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert (MODULES / "node_modules").is_dir(), f"no provider in {MODULES}: `make test` installs it"
    port = free_port()
    running = Site(tmp_path_factory.mktemp("oidc"), extra_environment={"OIDC_SECRET": SECRET})
    with (running.folder / "sampan.yaml").open("a") as file:
        file.write(SETTINGS.format(url=running.url, provider=f"http://127.0.0.1:{port}"))
    provider = subprocess.Popen(
        [find_node(), str(SCRIPT), str(port), f"{running.url}/hub/oauth_callback", SECRET],
        env={**os.environ, "OIDC_MODULES": str(MODULES)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert provider.stdout is not None
        said = []
        for line in provider.stdout:
            said.append(line)
            if line.strip() == "ready":
                break
        assert said[-1:] == ["ready\n"], "".join(said)
        running.start("proxy", "hub")
        yield running
    finally:
        running.stop()
        provider.kill()
        provider.communicate()


async def submit(browser: Browser, url: str, body: str, fields: dict[str, str]) -> tuple[str, str]:
    """Send the page's form with these fields and its own hidden ones; the next page's URL and body."""
    action = re.search(r'action="([^"]+)"', body)
    assert action, body
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', body))
    target = URL(url).join(URL(html.unescape(action[1])))
    async with browser.session.post(target, data={**hidden, **fields}) as answer:
        return str(answer.url), await answer.text()


async def log_in(browser: Browser, name: str) -> tuple[str, str]:
    """The whole way: the hub's button, the provider's login, its question, and back."""
    _, _, page = await browser.get("/hub/login?next=%2Fhub%2Fhome")
    assert "Sign in with the institute" in page
    assert "No isolation" in page
    button = re.search(r"href='([^']*oauth_login[^']*)'", page)
    assert button, page
    _, url, body = await browser.get(html.unescape(button[1]))
    assert "/interaction/" in url, body
    url, body = await submit(browser, url, body, {"login": name, "password": "any"})
    return await submit(browser, url, body, {})


async def test_the_whole_login(site: Site) -> None:
    async with Browser(site) as browser, Hub(site, "ana") as hub:
        url, body = await log_in(browser, "ana")
        assert url == f"{site.url}/hub/home", body
        assert "ana" in body
        assert (await hub.call("GET", "/users/ana"))[1]["admin"] is True, "named in `admins:`"


async def test_who_is_not_an_administrator_is_none(site: Site) -> None:
    async with Browser(site) as browser, Hub(site, "ben") as hub:
        assert (await log_in(browser, "ben"))[0] == f"{site.url}/hub/home"
        assert (await hub.call("GET", "/users/ben"))[1]["admin"] is False


async def test_who_is_not_allowed_stays_out(site: Site) -> None:
    async with Browser(site) as browser, Hub(site) as hub:
        await log_in(browser, "mallory")
        assert "/hub/login" in (await browser.get("/hub/home"))[1]
        assert (await hub.call("GET", "/users/mallory"))[0] == 404


async def test_a_link_is_not_a_way_around(site: Site) -> None:
    async with Browser(site) as browser:
        status, _, _ = await browser.get("/hub/link?token=" + "a" * 43)
        assert status == 404


async def test_the_client_secret_is_in_no_log(site: Site) -> None:
    assert SECRET not in site.log("hub") + site.log("proxy")
