"""A person's first login on a laptop: the examples beside their files, and the first of them open. Once."""

from __future__ import annotations

import importlib.resources
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

START = "start.ipynb"
EXAMPLES = "examples"
FIRST_URL = "/sampan/first"
MARKS = "SAMPAN_FIRST_LOGINS"
"""Where one mark per person is kept of their first login; notebooks are given it on a laptop only."""


def mark_path(environ: Mapping[str, str] | None = None) -> Path | None:
    """The mark of this person's first login; None where first logins are like all others."""
    environ = os.environ if environ is None else environ
    folder, person = environ.get(MARKS), environ.get("JUPYTERHUB_USER")
    return Path(folder) / quote(person, safe="@+") if folder and person else None


def is_first(environ: Mapping[str, str] | None = None) -> bool:
    """Whether this person has still to log in for the first time."""
    mark = mark_path(environ)
    return mark is not None and not mark.exists()


def begin(mark: Path, folder: Path) -> str | None:
    """Leave the mark, lay the examples out in `folder`; the notebook to open, relative to it.

    None when there was a mark: what somebody deleted does not come back. Raises OSError.
    """
    mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        mark.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return None
    return lay_out(folder)


def lay_out(folder: Path) -> str:
    """Copy the examples into `folder`, over nothing that is there; the notebook to open, relative to it.

    Where the folder has them already, as a clone of Sampan does, they are used where they lie.
    """
    if (folder / EXAMPLES / START).exists():
        return f"{EXAMPLES}/{START}"
    with importlib.resources.as_file(importlib.resources.files("sampan") / EXAMPLES) as ours:
        for source in sorted(ours.glob("*.ipynb")):
            copy_new(source, folder / START if source.name == START else folder / EXAMPLES / source.name)
    return START


def copy_new(source: Path, target: Path) -> None:
    """Copy unless there is something already."""
    target.parent.mkdir(exist_ok=True)
    try:
        with source.open("rb") as read, target.open("xb") as written:
            shutil.copyfileobj(read, written)
    except FileExistsError:
        return


class FirstHandler(JupyterHandler):
    """`<base>sampan/first`, where a server opens that was started before its person's first login."""

    @authenticated
    async def get(self) -> None:
        self.redirect(url_path_join(self.base_url, "lab", self.choose_page()))

    def choose_page(self) -> str:
        """The first notebook, once; else JupyterLab as it was left."""
        mark = mark_path()
        if mark is None:
            return ""
        try:
            notebook = begin(mark, Path(self.settings["server_root_dir"]).expanduser())
        except OSError as error:
            self.log.warning("The examples were not laid out: %s", error)
            return ""
        return "" if notebook is None else f"tree/{quote(notebook)}"
