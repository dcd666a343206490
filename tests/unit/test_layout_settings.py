"""The key `layout`: what it takes, and what is refused of it with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan_hub.settings.defaults import complete
from sampan_hub.settings.load import parse_settings
from sampan_hub.settings.machine import Machine
from sampan_hub.settings.policy import refusals

PLACES = {"proxy_api": "https://proxy-api:8444", "hub": "https://hub:8443", "service": "https://hub:8444"}
SITE = (
    "{profile: PROFILE, url: 'https://s.example/', listen: ':8443', tls: own, login: links, isolation: none, layout: "
)


def refused(places: dict[str, str], profile: str = "site") -> list[str]:
    text = SITE.replace("PROFILE", profile) + str(places) + "}"
    settings = complete(parse_settings(text.encode(), "x", Path("/"), {}), Machine(4000, 16 << 30, Path("/opt")))
    return [f"{finding.key}: {finding.text}" for finding in refusals(settings)]


def test_a_site_may_have_its_parts_apart() -> None:
    assert refused(PLACES) == []
    assert refused({**PLACES, "hub": "https://[fd00::1]:8443"}) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://hub:8443",
        "https://hub",
        "https://hub:8443/",
        "https://hub:8443/x",
        "https://:8443",
        "https://hub:port",
        "https://me@hub:8443?x",
        "https://me@hub:8443",
        "hub:8443",
    ],
)
def test_each_is_https_with_a_port_and_no_more(url: str) -> None:
    assert refused({**PLACES, "hub": url}) == [f"layout.hub: expected https://NAME:PORT, got {url!r}"]


def test_two_cannot_share_a_port() -> None:
    assert refused({**PLACES, "service": PLACES["hub"]}) == ["layout: two of the URLs are the same"]


def test_a_laptop_is_in_one_piece() -> None:
    assert "layout: proxy, hub and service of a laptop are on that laptop" in refused(PLACES, "laptop")
