"""The real service whose jobs cross hosts, as Slurm's do, while they run here: `python -m … PORT CONFIG`.

Every Slurm backend of the settings is a local one underneath. What proves where a notebook listens is its certificate
alone, as where the service sees none of the processes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import Backend, JobSpec, Submitted
from sampan_hub.backends.local import LocalBackend
from sampan_hub.service.server import Server, bind
from sampan_hub.service.start import make_context
from sampan_hub.settings.effective import effective_settings
from sampan_hub.settings.model import Settings
from sampan_hub.settings.paths import StatePaths
from sampan_hub.settings.slurm import SlurmBackend
from sampan_hub.trust.front import Front, open_front


class DistantBackend(LocalBackend):
    """Looks at no process to see who listens."""

    def __init__(self, front: Front, home: Path, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._front, self._home = front, home

    async def submit(self, batch: Sequence[JobSpec]) -> Submitted:
        return await super().submit([replace(spec, folder=spec.folder.replace("~", str(self._home))) for spec in batch])

    async def owns_listener(self, job_id: str, host: str, port: int) -> bool:
        return await self._front.proves_job(host, port, job_id)


def make_backends(settings: Settings, paths: StatePaths, instance: str) -> Mapping[str, Backend]:
    front = open_front(paths.tls, datetime.now(UTC))
    room = {"cores_milli": 8000, "memory_bytes": 16 << 30, "fork": False, "prepared": ()}
    return {
        name: DistantBackend(front, paths.root.parent, name, paths.jobs, instance, **room)
        if isinstance(backend, SlurmBackend)
        else LocalBackend(name, paths.root / f"jobs-{name}", instance, **room)
        for name, backend in settings.backends.items()
    }


def main(port: int, config: Path) -> int:
    listener = bind(port)
    context = make_context(effective_settings(config), port, backends_maker=make_backends)
    return Server(context, port).serve_until_told(listener)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
