"""The real service, its store and backends wrapped so that it dies hard at the n-th call that changes anything.

`python -m tests.support.mortal_service PORT CONFIG N DEATH`: odd N dies just before call
number (N + 1) / 2, even N just after it, before anybody hears the answer. It leaves the call's name in the file DEATH.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sampan_hub.backends.base import Backend, JobSpec, Submitted
from sampan_hub.backends.local import LocalBackend
from sampan_hub.jobs.store import Store
from sampan_hub.service.server import Server, bind
from sampan_hub.service.start import make_context, make_store
from sampan_hub.settings.effective import effective_settings
from sampan_hub.settings.model import Settings
from sampan_hub.settings.paths import StatePaths

SUBMIT_TIMEOUT_S = 2.0
"""Shorter than real, so that a call of the dead is soon known to have no more effect."""


class Doom:
    """Counts the moments before and after each change, and kills this process at one of them."""

    def __init__(self, at: int, death: Path) -> None:
        self._at, self._death = at, death
        self._count = 0
        self._lock = threading.Lock()

    def step(self, call: str) -> None:
        with self._lock:
            self._count += 1
            if self._count == self._at:
                self._death.write_text(call)
                os.kill(os.getpid(), signal.SIGKILL)


class MortalStore:
    """The real store; submit, stop, claim, report and the recording of a plan's actions are changes."""

    CHANGES = frozenset({"submit", "stop", "claim", "report"})

    def __init__(self, store: Store, doom: Doom) -> None:
        self._store, self._doom = store, doom

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self._mortal(name, method) if name in self.CHANGES else method

    def apply(self, actions: Sequence[Any], now: Any) -> Any:
        call = self._mortal("apply", self._store.apply) if actions else self._store.apply
        return call(actions, now)

    def _mortal(self, name: str, method: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self._doom.step(f"before {name}")
            answer = method(*arguments, **named)
            self._doom.step(f"after {name}")
            return answer

        return call


class MortalBackend:
    """The real backend; submit and cancel are changes."""

    def __init__(self, backend: Backend, doom: Doom) -> None:
        self._backend, self._doom = backend, doom

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def submit(self, batch: Sequence[JobSpec]) -> Submitted:
        self._doom.step("before backend.submit")
        answer = await self._backend.submit(batch)
        self._doom.step("after backend.submit")
        return answer

    async def cancel(self, job_ids: Sequence[str]) -> None:
        self._doom.step("before backend.cancel")
        await self._backend.cancel(job_ids)
        self._doom.step("after backend.cancel")


def main(port: int, config: Path, at: int, death: Path) -> int:
    doom = Doom(at, death)

    def store_maker(url: str, secrets_key: bytes) -> Any:
        return MortalStore(make_store(url, secrets_key), doom)

    def backends_maker(settings: Settings, paths: StatePaths, instance: str) -> Mapping[str, Any]:
        real = LocalBackend(
            "local", paths.jobs, instance, cores_milli=8000, memory_bytes=1 << 33, submit_timeout_s=SUBMIT_TIMEOUT_S
        )
        return {"local": MortalBackend(real, doom)}

    listener = bind(port)
    settings = effective_settings(config)
    context = make_context(settings, port, store_maker=store_maker, backends_maker=backends_maker)
    return Server(context, port).serve_until_told(listener)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
