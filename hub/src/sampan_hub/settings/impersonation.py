"""Where a job could become somebody else, and what Sampan refuses because of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sampan_hub.settings.findings import Finding, made
from sampan_hub.settings.model import BackendSettings, LocalBackend, Settings
from sampan_hub.settings.slurm import SlurmBackend


def impersonation_refusals(settings: Settings) -> Iterator[Finding]:
    """Jobs that run as Sampan's own user beside jobs of people's own.

    That user may put jobs into the queue as anybody (`sampan-run-as`), and so may whoever has a job of theirs:
    `isolation: none` says that people trust each other, not that they may be every account of the machine.
    """
    as_people = [name for name, backend in settings.backends.items() if _runs_as_people(backend)]
    for name, backend in settings.backends.items():
        if as_people and _runs_as_sampan(backend):
            text = f"its jobs run as the user that runs Sampan, and so could run jobs on {as_people[0]} as anybody"
            remedy = f"take {name} out, or set `submit_as: one` in {' and '.join(as_people)}"
            yield made(settings.source, ("backends", name), text, remedy=remedy)


def _runs_as_people(backend: BackendSettings) -> bool:
    return isinstance(backend, SlurmBackend) and backend.submit_as == "themselves"


def _runs_as_sampan(backend: BackendSettings) -> bool:
    return isinstance(backend, LocalBackend) or (isinstance(backend, SlurmBackend) and backend.submit_as == "one")
