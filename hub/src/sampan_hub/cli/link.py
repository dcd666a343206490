"""`sampan link`: a fresh login link."""

from __future__ import annotations

from pathlib import Path

import click

from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.links import has_links, make_link, make_own_address
from sampan_hub.cli.supervise.people import People, PeopleError, open_people
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.keyfiles import KeyFileError


@click.command()
@click.argument("name", required=False)
@click.pass_obj
def link(config: Path | None, name: str | None) -> None:
    """Print a fresh login link of NAME (default: yours). It works once, within 15 minutes."""
    try:
        site = load_site(config)
        people = open_people(site)
        print(_make(site, people, name))
    except (SettingsError, KeyFileError, PeopleError) as error:
        raise console.Failure(str(error)) from error


def _make(site: Site, people: People, name: str | None) -> str:
    if name is None:
        return make_own_address(site)
    if not has_links(site):
        raise PeopleError("People do not log in by links here: `login:` in sampan.yaml names another way.")
    people.require(name)
    return make_link(site, name, "once")
