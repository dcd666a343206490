"""Login links: what `up`, `link` and `user` print."""

from __future__ import annotations

import getpass

from sampan_hub.cli.supervise.site import Site
from sampan_hub.identity import links
from sampan_hub.settings.address import public_url
from sampan_hub.settings.model import ClassLogin


def own_name(site: Site) -> str:
    """Whose link a bare `sampan link` prints: on a laptop whoever runs it, on a site the first administrator."""
    if not site.is_laptop and site.settings.admins:
        return site.settings.admins[0]
    return getpass.getuser()


def has_links(site: Site) -> bool:
    """Whether people log in by links here, and not by an authenticator of the settings."""
    return not isinstance(site.settings.login, ClassLogin)


def make_link(site: Site, name: str, kind: links.LinkKind) -> str:
    """A fresh link: `once` works one time within 15 minutes, `personal` until it is revoked."""
    links.purge(site.paths)
    return links.link_url(public_url(site.settings), links.make_link(site.paths, name, kind))


def make_own_address(site: Site) -> str:
    """What a person opens first: a link that logs in, or the front page where logging in goes another way."""
    return make_link(site, own_name(site), "once") if has_links(site) else public_url(site.settings)


def revoke_links(site: Site, name: str) -> int:
    """Ends every link of that person; how many there were."""
    return links.revoke(site.paths, name)
