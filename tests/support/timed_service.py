"""The real service on a local backend that gives jobs a walltime: it announces when each ends, and ends it then.

`timed_service.py PORT CONFIG KIND=SECONDS…`: kinds that are not named may run for ever.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import Backend, Expected, Listing, Observed, Pace, Phase
from sampan_hub.backends.fake import WALLTIME
from sampan_hub.service.server import Server, bind
from sampan_hub.service.start import make_backends, make_context
from sampan_hub.settings.effective import effective_settings
from sampan_hub.settings.model import Settings
from sampan_hub.settings.paths import StatePaths


class TimedBackend:
    """The real backend, with deadlines."""

    pace = Pace(moving_s=0.5, steady_s=0.5, empty_s=1.0)

    def __init__(self, backend: Backend, walltimes: Mapping[str, timedelta]) -> None:
        self._backend = backend
        self._walltimes = walltimes
        self._overdue: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def observe(self, expected: Collection[Expected] = ()) -> Listing:
        """Everything, with its deadline; what is past it is ended."""
        listing = await self._backend.observe(expected)
        jobs = tuple(self._limit(job) for job in listing.jobs)
        late = {job.job_id for job in jobs if job.deadline is not None and listing.begun_at >= job.deadline}
        if late - self._overdue:
            self._overdue |= late
            await self._backend.cancel(sorted(late))
        return replace(listing, jobs=jobs)

    def _limit(self, job: Observed) -> Observed:
        walltime = self._walltimes.get(job.identity.kind if job.identity else "")
        if walltime is None or job.started_at is None:
            return job
        if job.phase is Phase.ENDED:
            return replace(job, reason=WALLTIME) if job.job_id in self._overdue else job
        return replace(job, deadline=job.started_at + walltime)


def main(port: int, config: Path, walltimes: Mapping[str, timedelta]) -> int:
    def backends_maker(settings: Settings, paths: StatePaths, instance: str) -> Mapping[str, Any]:
        made = make_backends(settings, paths, instance)
        return {name: TimedBackend(backend, walltimes) for name, backend in made.items()}

    listener = bind(port)
    context = make_context(effective_settings(config), port, backends_maker=backends_maker)
    return Server(context, port).serve_until_told(listener)


if __name__ == "__main__":
    pairs = (word.partition("=") for word in sys.argv[3:])
    limits = {kind: timedelta(seconds=float(seconds)) for kind, _, seconds in pairs}
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), limits))
