"""The key `layout`: proxy on the one side, hub and service on the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sampan_hub.settings.findings import Finding, made
from sampan_hub.settings.section import Section

if TYPE_CHECKING:
    from sampan_hub.settings.model import Settings

URLS = ("proxy_api", "hub", "service")


class Layout(Section):
    """Where the two sides find each other, over TLS on which both sides show who they are. Each listens on the port of
    its URL: on every address, or on the one that the URL names."""

    proxy_api: str
    """The URL under which the hub finds the proxy: `https://proxy-api:8444`."""
    hub: str
    """The URL under which the proxy finds the hub: `https://hub:8443`."""
    service: str
    """The URL under which the proxy finds the service: `https://hub:8444`."""
    entry_names: tuple[str, ...] = ()
    """More names under which jobs reach the proxy, for the certificate of `tls: own`."""


def layout_refusals(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the sides, and with an entry that could not be one of them."""
    layout, source = settings.layout, settings.source
    if layout is None:
        return
    for key in URLS:
        if not _is_origin(getattr(layout, key)):
            text = f"expected https://NAME:PORT, got {getattr(layout, key)!r}"
            yield made(source, ("layout", key), text)
    if len({getattr(layout, key) for key in URLS}) < len(URLS):
        yield made(source, ("layout",), "two of the URLs are the same", remedy="give each a port of its own")
    if settings.profile == "laptop":
        text = "proxy, hub and service of a laptop are on that laptop"
        yield made(source, ("layout",), text, remedy="set `profile: site`, or leave it out")


def _is_origin(url: str) -> bool:
    """A scheme, a host and a port, and nothing that would be lost where only these count."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = "@" not in parts.netloc and url == f"https://{parts.netloc}"
    return parts.scheme == "https" and bool(parts.hostname) and port is not None and plain
