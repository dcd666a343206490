"""One light installation: the real service on the hub host."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from tests.chaos.light import Light
from tests.slurm.faults.ground import CLONE_THERE, FOLDER, INSTALLED, SHARED, Ground
from tests.slurm.faults.settings import render_settings

_ports = itertools.count(21000)


class HubHostLight(Light):
    """`name` is the first part of its URL's path."""

    JOURNAL = "slurm-slurm.sqlite"

    def __init__(self, ground: Ground, name: str) -> None:
        folder = ground.state / name
        super().__init__(name, f"{ground.url}/{name}", folder / "state", ground.trust, ground.folder / f"{name}.log")
        self.ground = ground
        self.there = f"{FOLDER}/{name}"
        self.port = next(_ports)
        self.death = folder / "death"
        folder.mkdir(mode=0o755)
        (folder / "sampan.yaml").write_text(render_settings(name, ground.url))
        ground.own(folder)
        (ground.state / "routes" / name).write_text(str(self.port))

    def make_base(self, owner: str, size: str, fault: str) -> dict[str, Any]:
        base = {"kind": "notebook", "owner": owner, "size": size, "interpreter": f"{SHARED}/program.py", "folder": "/"}
        return {**base, "env": {"FAULT": fault}}

    def start(self, die_at: int = 0) -> None:
        """`die_at` 0 never comes."""
        words = ["-m", "tests.slurm.faults.service", str(self.port), f"{self.there}/sampan.yaml"]
        argv = [f"{INSTALLED}/bin/python", *words, str(die_at), f"{self.there}/death"]
        env = {"PYTHONPATH": CLONE_THERE, "PYTHONDONTWRITEBYTECODE": "1"}
        with self.log_file.open("ab") as log:
            self._process = self.ground.hub.popen(argv, user="sampan", cwd=self.there, env=env, stdout=log, stderr=log)

    def died_at(self) -> str | None:
        """The call at which it died as it was told to."""
        return self.death.read_text() if self.death.exists() else None

    def restore(self, copy: Path) -> None:
        super().restore(copy)
        self.ground.own(self.state)
