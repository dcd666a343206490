"""`sampan env`: environments for people's code, on storage that every node sees."""

from __future__ import annotations

import errno
import shutil
from datetime import datetime
from pathlib import Path

import click

from sampan_hub.cli.environments import versions
from sampan_hub.cli.environments.build import Order, build
from sampan_hub.cli.environments.locking import Source
from sampan_hub.cli.environments.prune import count_mapped, judge, parse_jobs
from sampan_hub.cli.environments.running import ask_jobs
from sampan_hub.cli.environments.trouble import CannotBuild
from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.settings.findings import SettingsError

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = ("no space left on device", "disk quota exceeded")
_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path)


@click.group()
def env() -> None:
    """Build environments for people's code (the client, JupyterLab, Dask), and remove what is not used any more."""


@env.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--requirements", type=_FILE, metavar="FILE", help="More packages, locked together with ours.")
@click.option(
    "--wheel", "wheels", type=_FILE, multiple=True, metavar="FILE", help="The client's wheel, or others. Repeatable."
)
@click.option(
    "--python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The Python to build on, which every node has there. Default: the first in /usr/bin that is new enough.",
)
@click.option("--find-links", type=_FOLDER, metavar="FOLDER", help="Take packages from this folder of wheels only.")
def create(
    path: Path, requirements: Path | None, wheels: tuple[Path, ...], python: Path | None, find_links: Path | None
) -> None:
    """Build an environment at PATH, or a new version of it: PATH leads to it as soon as it is complete.

    Jobs that run keep the version they began with; `sampan env prune PATH` removes old ones. What was installed is
    written in PATH/requirements.lock.
    """
    where = _in_full(path)
    order = Order(where, wheels, requirements, python and python.absolute(), Source(find_links))
    try:
        folder = build(order, console.say)
    except CannotBuild as error:
        raise console.Failure(_with_room(where, str(error))) from error
    except OSError as error:
        if error.errno in FULL:
            raise console.Failure(_with_room(where, FULL_WORDS[0])) from error
        raise
    console.say(f"{where} is {folder.name} now")


@env.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Do not ask which jobs run: they may lose what they run from.")
@click.pass_obj
def prune(config: Path | None, path: Path, force: bool) -> None:
    """Remove versions of the environment at PATH that no job runs from; the one in use and the one before stay."""
    where = _in_full(path)
    try:
        with versions.locked(where):
            _prune(where, None if force else load_site(config))
    except (CannotBuild, SettingsError) as error:
        raise console.Failure(str(error)) from error


def _prune(path: Path, site: Site | None) -> None:
    linked = versions.read_linked(path)
    if linked is None:
        raise CannotBuild(f"{path} is not there: `sampan env create` makes it.")
    for half in versions.sweep(path):
        console.say(f"removed {half}, a build that did not come to its end")
    folders = {number: versions.folder_of(path, number) for number in versions.list_versions(path)}
    marks = {number: mark for number, folder in folders.items() if (mark := versions.read_mark(folder)) is not None}
    made_at = {number: datetime.fromisoformat(mark.made_at) for number, mark in marks.items()}
    jobs = [] if site is None else parse_jobs(ask_jobs(site))
    verdict = judge(linked, made_at, jobs, count_mapped({number: folders[number] for number in made_at}))
    for number, why in verdict.keep.items():
        console.say(f"kept {folders[number]}: {why}")
    for number in verdict.remove:
        shutil.rmtree(folders[number])
        console.say(f"removed {folders[number]}")


def _in_full(path: Path) -> Path:
    """Absolute, the last part as it is: that is the link."""
    where = path.absolute()
    return where.parent.resolve() / where.name


def _with_room(path: Path, text: str) -> str:
    """A full disk is said as such, before what a tool says about it."""
    if not any(words in text.lower() for words in FULL_WORDS):
        return text
    place = next(folder for folder in path.parents if folder.exists())
    free = shutil.disk_usage(place).free >> 20
    return f"The disk of {place} is full ({free} MiB left): make room, or remove old versions with `sampan env prune`."
