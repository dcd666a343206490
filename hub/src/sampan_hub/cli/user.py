"""`sampan user`: add people and give each a personal link; list, remove, revoke."""

from __future__ import annotations

from pathlib import Path

import click

from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.links import has_links, make_link
from sampan_hub.cli.supervise.people import People, PeopleError, open_people
from sampan_hub.cli.supervise.roster import RosterError, parse_roster
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.keyfiles import KeyFileError


@click.group()
def user() -> None:
    """Add people, list and revoke their personal links."""


def _open(config: Path | None) -> tuple[Site, People]:
    try:
        site = load_site(config)
        return site, open_people(site)
    except (SettingsError, KeyFileError, PeopleError) as error:
        raise console.Failure(str(error)) from error


@user.command()
@click.argument("names", nargs=-1)
@click.option("--file", "roster", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="One name a line.")
@click.pass_obj
def add(config: Path | None, names: tuple[str, ...], roster: Path | None) -> None:
    """Make people, and print a personal link of each."""
    try:
        wanted = parse_roster("\n".join(names), "argument")
        if roster is not None:
            listed = parse_roster(roster.read_text(encoding="utf-8-sig"), str(roster))
            wanted += [name for name in listed if name not in wanted]
    except (RosterError, UnicodeDecodeError) as error:
        raise console.Failure(str(error)) from error
    if not wanted:
        raise click.UsageError("name somebody, or give --file ROSTER")
    site, people = _open(config)
    try:
        added = people.add(wanted)
        links = [(name, make_link(site, name, "personal") if has_links(site) else "") for name in wanted]
    except PeopleError as error:
        raise console.Failure(str(error)) from error
    width = max(len(name) for name, _ in links)
    for name, link in links:
        print(f"{name:<{width}}  {link}".rstrip())
    click.echo(f"{len(added)} added, {len(links) - len(added)} known before", err=True)


@user.command("list")
@click.pass_obj
def list_people(config: Path | None) -> None:
    """List people, administrators marked."""
    _, people = _open(config)
    try:
        for person in people.everybody():
            print(person.name + ("  (administrator)" if person.is_admin else ""))
    except PeopleError as error:
        raise console.Failure(str(error)) from error


@user.command()
@click.argument("name")
@click.pass_obj
def remove(config: Path | None, name: str) -> None:
    """Remove NAME: the person, their links and their tokens. Their running notebooks are stopped first."""
    _, people = _open(config)
    try:
        people.remove(name)
    except PeopleError as error:
        raise console.Failure(str(error)) from error
    print(f"{name} is removed")


@user.command()
@click.argument("name")
@click.pass_obj
def revoke(config: Path | None, name: str) -> None:
    """Make every link of NAME useless that was not used yet."""
    _, people = _open(config)
    try:
        count = people.revoke(name)
    except PeopleError as error:
        raise console.Failure(str(error)) from error
    print(f"{count} link{'' if count == 1 else 's'} of {name} revoked")
