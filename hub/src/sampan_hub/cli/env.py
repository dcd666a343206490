"""`sampan env`: environments for people's code, on storage that every node sees."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import click

from sampan_hub.cli.environments.build import Order, build
from sampan_hub.cli.environments.locking import Source
from sampan_hub.cli.environments.trouble import CannotBuild
from sampan_hub.cli.supervise import console

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
    where = path.absolute()
    where = where.parent.resolve() / where.name
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


def _with_room(path: Path, text: str) -> str:
    """A full disk is said as such, before what a tool says about it."""
    if not any(words in text.lower() for words in FULL_WORDS):
        return text
    place = next(folder for folder in path.parents if folder.exists())
    free = shutil.disk_usage(place).free >> 20
    return f"The disk of {place} is full ({free} MiB left): make room, or remove old versions with `sampan env prune`."
