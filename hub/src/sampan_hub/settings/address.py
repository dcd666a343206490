"""What `url` and `listen` say: where people come in and what is bound. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from sampan_hub.settings.model import Settings


class AddressError(ValueError):
    """`url` or `listen` does not name an address; the text is for people."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and port to bind. `host` '0.0.0.0' or '::' is every address."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; any name but `localhost` counts as reachable by others."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_url(url: str) -> tuple[str, Endpoint, str]:
    """Scheme, endpoint and path (with a slash at both ends) of `url`."""
    expected = "expected http://NAME[:PORT]/ or https://NAME[:PORT]/"
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError as error:
        raise AddressError(f"{expected}, got {url!r}") from error
    extra = parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in ("http", "https") or not parts.hostname or extra or set(url) & set(" \t\r\n\\"):
        raise AddressError(f"{expected}, got {url!r}")
    path = "/" + "/".join(part for part in parts.path.split("/") if part)
    return parts.scheme, Endpoint(parts.hostname, port), path if path == "/" else path + "/"


def parse_listen(text: str) -> Endpoint:
    """`127.0.0.1:8000`, `[::1]:8000`, `:8000` (every IPv4 address)."""
    expected = f"expected ADDRESS:PORT such as 127.0.0.1:8000 or [::1]:8000, got {text!r}"
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise AddressError(expected)
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    host = host or "0.0.0.0"  # noqa: S104 - what the person wrote; whether it may be bound is `policy`
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError as error:
            raise AddressError(expected) from error
    return Endpoint(host, int(port))


def bind_endpoint(settings: Settings) -> Endpoint:
    """What the proxy binds: `listen`, else the address in `url`. Raises AddressError."""
    return parse_listen(settings.listen) if settings.listen is not None else parse_url(settings.url)[1]


def public_url(settings: Settings) -> str:
    """`url` in one spelling, with a slash at its end. Raises AddressError."""
    scheme, endpoint, path = parse_url(settings.url)
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    usual = {"http": 80, "https": 443}[scheme]
    return f"{scheme}://{host}{'' if endpoint.port == usual else f':{endpoint.port}'}{path}"
