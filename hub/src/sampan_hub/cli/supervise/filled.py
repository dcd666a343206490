"""The state folder of one of two sides: `sampan kubernetes state` has filled it with what this side may know."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sampan_hub.cli.supervise.apart import ENTRIES
from sampan_hub.cli.supervise.prepare import CannotStart, ensure_folders, ensure_hub_database, explained
from sampan_hub.cli.supervise.site import Site
from sampan_hub.settings.keyfiles import KEY_FILES
from sampan_hub.trust.entry import entry_files, has_own_beside, own_entry_files
from sampan_hub.trust.files import Pair
from sampan_hub.trust.front import clients_authority_files, front_files, jobs_authority_files
from sampan_hub.trust.internal import PROXY_API, answering_files, internal_authority_files, upstream_bundle


def ensure_filled(site: Site, name: str) -> None:
    """The folders are there, and whatever this process reads; raises CannotStart, for nothing is made up here."""
    with explained(site.paths.root):
        ensure_folders(site)
        for path in _needed(site, name):
            if not path.exists():
                side = "proxy" if name == "proxy" else "hub"
                raise CannotStart(f"{path} is missing: run `sampan kubernetes state {side} --from FOLDER` first.")
        if name == "hub":
            ensure_hub_database(site)


def _needed(site: Site, name: str) -> Iterable[Path]:
    folder = site.paths.tls
    if name in ENTRIES:
        return (*_both(answering_files(folder, ENTRIES[name])), clients_authority_files(folder).certificate)
    if name == "proxy":
        pairs = [front_files(folder), answering_files(folder, PROXY_API), entry_files(site.settings, site.paths)]
        if has_own_beside(site.settings):
            pairs.append(own_entry_files(site.paths))
        files = [path for pair in pairs if pair is not None for path in _both(pair)]
        return (
            *files,
            clients_authority_files(folder).certificate,
            upstream_bundle(folder),
            site.paths.key("proxy-token"),
        )
    keys = [site.paths.key(key) for key in KEY_FILES]
    authorities = _both(jobs_authority_files(folder))
    return (*keys, *authorities, *_both(front_files(folder)), internal_authority_files(folder).certificate)


def _both(pair: Pair) -> tuple[Path, Path]:
    return pair.certificate, pair.key
