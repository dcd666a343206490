"""The way between proxy, hub and service where they run apart: each shows who it is, and takes nobody else.

Who answers shows a certificate of `internal-ca` with its own name; who asks shows the front's (`trust.front`).
"""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sampan_hub.settings.layout import Layout
from sampan_hub.trust.authority import AUTHORITY_LIFETIME, Authority, AuthorityKind, Usage
from sampan_hub.trust.files import Pair, ensure_authority, ensure_certificate, pair_in
from sampan_hub.trust.front import front_files

INTERNAL = AuthorityKind("internal-ca", "Sampan internal", Usage.SERVER)
HUB, SERVICE, PROXY_API = "hub", "service", "proxy-api"
"""Who answers, as their certificates call them. No job is called so: a job's certificate has its key for a name."""
RENEW_BEFORE = timedelta(days=365)


class KeptContext(ssl.SSLContext):
    """One that may stand in JupyterHub's configuration, which is copied to the depth before it is used."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> KeptContext:
        return self


def internal_authority_files(folder: Path) -> Pair:
    """The authority of what hub, service and the proxy's API show."""
    return pair_in(folder, INTERNAL.stem)


def upstream_bundle(folder: Path) -> Path:
    """The authorities of all that the proxy connects to: hub, service and notebooks."""
    return folder / "upstream-ca.crt"


def answering_files(folder: Path, holder: str) -> Pair:
    """The certificate and key with which this holder answers."""
    return pair_in(folder, holder)


def answering_url(layout: Layout, holder: str) -> str:
    """Where this holder is found."""
    return {HUB: layout.hub, SERVICE: layout.service, PROXY_API: layout.proxy_api}[holder]


def name_holder(layout: Layout, holder: str) -> str:
    """Where the proxy sends what is for this holder, with the name that the certificate there must have."""
    return answering_url(layout, holder).replace("https://", f"https://{holder}@", 1)


def ensure_answering(folder: Path, layout: Layout, holder: str, authority: Authority, now: datetime) -> None:
    """A certificate for the host under which the holder is found. Raises KeyFileError."""
    host = urlsplit(answering_url(layout, holder)).hostname
    ensure_certificate(
        answering_files(folder, holder),
        authority,
        holder,
        {str(host)},
        lifetime=AUTHORITY_LIFETIME,
        renew_before=RENEW_BEFORE,
        now=now,
    )


def open_internal_authority(folder: Path, now: datetime) -> Authority:
    """The authority that keeps its files here, made if there is none. Raises KeyFileError."""
    return ensure_authority(internal_authority_files(folder), INTERNAL.name, INTERNAL.usage, now)


def make_internal_context(folder: Path) -> KeptContext:
    """How to connect to the proxy's API, the hub or the service: shows the front's certificate, takes only theirs."""
    context = KeptContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=str(internal_authority_files(folder).certificate))
    pair = front_files(folder)
    context.load_cert_chain(pair.certificate, pair.key)
    return context
