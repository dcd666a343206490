"""The TLS entry: the certificate that people and jobs on other hosts meet at the proxy, and by what jobs know it."""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509

from sampan_hub.settings.address import bind_endpoint, parse_url
from sampan_hub.settings.crossing import jobs_urls
from sampan_hub.settings.model import Settings, Tls
from sampan_hub.settings.paths import StatePaths
from sampan_hub.trust.authority import Authority, Usage, certificate_pem, is_issued_by
from sampan_hub.trust.files import Pair, ensure_authority, ensure_certificate, ensure_folder, pair_in, read_certificates

AUTHORITY_STEM = "ca"
ENTRY_LIFETIME = timedelta(days=800)
"""Some systems take no server's certificate that is made for more than 825 days."""
ENTRY_RENEW_BEFORE = timedelta(days=100)
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what `listen` may say, not bound here


def authority_files(paths: StatePaths) -> Pair:
    """The authority of `tls: own`."""
    return pair_in(paths.tls, AUTHORITY_STEM)


def entry_files(settings: Settings, paths: StatePaths) -> Pair | None:
    """The certificate and key of the proxy's public side; None where it speaks no TLS."""
    if isinstance(settings.tls, Tls):
        return Pair(settings.tls.certificate, settings.tls.key)
    return None if settings.tls is None else own_entry_files(paths)


def own_entry_files(paths: StatePaths) -> Pair:
    """The one that Sampan makes: for everybody with `tls: own`, for jobs inside where a cluster's site has another."""
    return pair_in(paths.tls, "entry")


def has_own_beside(settings: Settings) -> bool:
    """Whether the proxy shows two: the site's to people, Sampan's own to whoever asks for a name in the cluster."""
    return settings.layout is not None and isinstance(settings.tls, Tls)


def entry_names(settings: Settings) -> frozenset[str]:
    """Every host name and address under which the settings say that the entry is reached with Sampan's certificate."""
    named = settings.layout.entry_names if settings.layout else ()
    if has_own_beside(settings):
        return frozenset(named)
    urls = [settings.url, *jobs_urls(settings).values()]
    bound = bind_endpoint(settings).host
    return frozenset([*named, *(parse_url(url)[1].host for url in urls), *([] if bound in EVERYWHERE else [bound])])


def ensure_entry(settings: Settings, paths: StatePaths, now: datetime) -> bool:
    """With `tls: own`, a certificate for the names of today that lasts; whether it was made, or made anew.

    With a `layout` it is not made here but for the proxy's side (`sampan kubernetes state`). Raises KeyFileError.
    """
    if settings.tls != "own" or settings.layout is not None:
        return False
    ensure_folder(paths.tls)
    authority = ensure_authority(
        authority_files(paths), f"Sampan at {parse_url(settings.url)[1].host}", Usage.SERVER, now
    )
    return ensure_entry_certificate(settings, paths, authority, now)


def ensure_entry_certificate(settings: Settings, paths: StatePaths, authority: Authority, now: datetime) -> bool:
    """The part of `ensure_entry` that the authority does."""
    return ensure_certificate(
        own_entry_files(paths),
        authority,
        "Sampan",
        entry_names(settings),
        lifetime=ENTRY_LIFETIME,
        renew_before=ENTRY_RENEW_BEFORE,
        now=now,
    )


def read_entry_bundle(settings: Settings, paths: StatePaths) -> str:
    """The certificates (PEM) by which jobs know the entry; empty where the machines' own authorities are to do it.

    Raises KeyFileError.
    """
    if settings.tls == "own" or (has_own_beside(settings) and _come_in_inside(settings)):
        return _pem(read_certificates(authority_files(paths).certificate))
    if not isinstance(settings.tls, Tls):
        return ""
    if settings.tls.ca is not None:
        return _pem(read_certificates(settings.tls.ca))
    return _pem([each for each in read_certificates(settings.tls.certificate) if is_issued_by(each, each)])


def _come_in_inside(settings: Settings) -> bool:
    """Whether all jobs reach the entry by a name of the cluster's own."""
    return {parse_url(url)[1].host for url in jobs_urls(settings).values()} <= entry_names(settings)


def _pem(certificates: list[x509.Certificate]) -> str:
    return b"".join(map(certificate_pem, certificates)).decode()
