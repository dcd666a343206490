"""What each of the two sides is given of the installation's keys, and the certificates made for it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from sampan_hub.cli.supervise.prepare import ensure_folders
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.keyfiles import KEY_FILES, KeyFileError
from sampan_hub.settings.layout import Layout
from sampan_hub.settings.paths import StatePaths
from sampan_hub.trust.authority import Authority, AuthorityKind
from sampan_hub.trust.entry import ensure_entry_certificate, has_own_beside
from sampan_hub.trust.files import ensure_folder, parse_authority, replace_whole
from sampan_hub.trust.front import CLIENTS, JOBS, ensure_front_certificate, front_files, open_front
from sampan_hub.trust.internal import (
    HUB,
    INTERNAL,
    PROXY_API,
    SERVICE,
    ensure_answering,
    open_internal_authority,
    upstream_bundle,
)
from sampan_hub.trust.keyring import OWN_AUTHORITIES, entry_authority


def fill_hub(site: Site, layout: Layout, source: Path, now: datetime) -> None:
    """The hub's side knows every key and authority. Raises KeyFileError, CannotStart, OSError."""
    paths = site.paths
    _ensure_side(site)
    _copy(source, paths.keys, KEY_FILES)
    stems = [kind.stem for kind in (entry_authority(""), *OWN_AUTHORITIES)]
    _copy(source, paths.tls, [f"{stem}.{ending}" for stem in stems for ending in ("key", "crt")])
    open_front(paths.tls, now)
    authority = open_internal_authority(paths.tls, now)
    for holder in (HUB, SERVICE):
        ensure_answering(paths.tls, layout, holder, authority, now)


def fill_proxy(site: Site, layout: Layout, source: Path, now: datetime) -> None:
    """The proxy's side has its token and its certificates; no authority's key comes to lie there.

    Raises KeyFileError, CannotStart, OSError.
    """
    paths = site.paths
    _ensure_side(site)
    _copy(source, paths.keys, ["proxy-token"])
    _copy(source, paths.tls, [f"{CLIENTS.stem}.crt"])
    upstream = b"".join(_ended(_read(source / f"{kind.stem}.crt")) for kind in (JOBS, INTERNAL))
    replace_whole(upstream_bundle(paths.tls), upstream)
    ensure_front_certificate(front_files(paths.tls), _authority(source, CLIENTS), now)
    ensure_answering(paths.tls, layout, PROXY_API, _authority(source, INTERNAL), now)
    if site.settings.tls == "own" or has_own_beside(site.settings):
        ensure_entry_certificate(site.settings, paths, _authority(source, entry_authority("")), now)


def _ensure_side(site: Site) -> None:
    paths: StatePaths = site.paths
    ensure_folders(site)
    for folder in (paths.keys, paths.tls):
        ensure_folder(folder)


def _authority(source: Path, kind: AuthorityKind) -> Authority:
    certificate, key = (_read(source / f"{kind.stem}.{ending}") for ending in ("crt", "key"))
    return parse_authority(certificate, key, kind)


def _copy(source: Path, folder: Path, names: Iterable[str]) -> None:
    """What the source says counts, also over what an earlier one said."""
    for name in names:
        replace_whole(folder / name, _ended(_read(source / name)))


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}; `sampan kubernetes keys` makes what is missing"
        raise KeyFileError(text) from error
    if not content.strip():
        raise KeyFileError(f"{path} is empty")
    return content


def _ended(content: bytes) -> bytes:
    return content.rstrip() + b"\n"
