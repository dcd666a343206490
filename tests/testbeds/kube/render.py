"""render.py FOLDER TARGET: each file of a folder, with `$NAME` replaced by that variable (`$$` is a dollar)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from string import Template


def main(folder: Path, target: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            rendered = target / path.relative_to(folder)
            rendered.parent.mkdir(parents=True, exist_ok=True)
            rendered.write_text(Template(path.read_text()).substitute(os.environ))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
