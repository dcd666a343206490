"""The real service on the hub host, mortal: `python -m tests.slurm.faults.service PORT CONFIG AT DEATH`.

It dies hard at the AT-th moment before, during or after a call that submits or cancels (0: never), and leaves the
call's name in the file DEATH. It looks more often and gives a submit up sooner than a real one, for a test would wait.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import Pace
from sampan_hub.backends.slurm import SlurmBackend
from sampan_hub.backends.slurm.acting import Acting, Started
from sampan_hub.backends.slurm.submitting import make_acting
from sampan_hub.privilege.requests import Submit
from sampan_hub.service.context import utc_now
from sampan_hub.service.logs import configure_logs
from sampan_hub.service.server import Server, bind
from sampan_hub.service.start import make_context, make_store
from sampan_hub.settings.effective import effective_settings
from sampan_hub.settings.keyfiles import read_key
from sampan_hub.settings.model import Settings
from sampan_hub.settings.paths import StatePaths
from sampan_hub.settings.slurm import SlurmBackend as SlurmSettings
from sampan_hub.trust.front import open_front
from tests.support.mortal_service import Doom, MortalBackend, MortalStore

PACE = Pace(moving_s=1.0, steady_s=3.0, empty_s=3.0, gap_s=0.5)
SUBMIT_TIMEOUT_S = 12.0
BEGUN_S = 0.2
"""After so long the privileged program has become the person and is on its way."""


class SubmittingStore(MortalStore):
    """Claims and reports have deaths of their own in tests/system/test_kill_points.py."""

    CHANGES = frozenset({"submit", "stop"})


class MortalActing(Acting):
    """The real one: before it is called, while the privileged program runs, and when it has answered."""

    doom: Doom

    async def submit(self, request: Submit) -> Started:
        return await self._mortal("acting.submit", super().submit(request))

    async def cancel(self, user: str, slurm_jobs: Sequence[str], name_prefix: str) -> None:
        await self._mortal("acting.cancel", super().cancel(user, slurm_jobs, name_prefix))

    async def _mortal(self, name: str, call: Any) -> Any:
        self.doom.step(f"before {name}")
        task = asyncio.ensure_future(call)
        try:
            await asyncio.wait({task}, timeout=BEGUN_S)
            self.doom.step(f"during {name}")
            answer = await task
        finally:
            task.cancel()
        self.doom.step(f"after {name}")
        return answer


def make_backend(settings: Settings, paths: StatePaths, instance: str, doom: Doom) -> Mapping[str, Any]:
    """The one Slurm backend of the settings."""
    ((name, backend),) = settings.backends.items()
    assert isinstance(backend, SlurmSettings)
    acting = MortalActing(make_acting(backend)._command)
    acting.doom = doom
    made = SlurmBackend(
        name,
        backend,
        instance,
        signing_key=read_key(paths.key("signing.key")),
        acting=acting,
        journal=paths.root / f"slurm-{name}.sqlite",
        environments=settings.environments,
        prove=open_front(paths.tls, utc_now()).proves_job,
    )
    made.pace, made.submit_timeout_s = PACE, SUBMIT_TIMEOUT_S
    return {name: MortalBackend(made, doom)}


def main(port: int, config: Path, at: int, death: Path) -> int:
    configure_logs(as_json=False)
    doom = Doom(at, death)
    listener = bind(port)
    context = make_context(
        effective_settings(config),
        port,
        store_maker=lambda url, key: SubmittingStore(make_store(url, key), doom),  # type: ignore[arg-type, return-value]
        backends_maker=lambda settings, paths, instance: make_backend(settings, paths, instance, doom),
    )
    return Server(context, port).serve_until_told(listener)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
