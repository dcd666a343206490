"""A cluster's host as kernels see it: where it is, whether it lives, what it wrote. Beside the notebook, or a job."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from sampan import rundir
from sampan._api import Session
from sampan.errors import Refused, SampanError, ServiceUnavailable
from sampan.host.hosted import Hosted
from sampan.host.launch import await_end

POLL_S = 0.1
GRACE_S = 5.0
"""How long a host that was asked to end may take before the service is asked to end it."""


class Handle(Protocol):
    """`facts`: what the host says of itself (`Host.describe`); of one that is a job, once it was asked."""

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def scheduler(self) -> str:
        """Its address."""

    def is_gone(self) -> bool:
        """Whether it is certain, without asking anybody, that it has ended."""

    def why_ended(self) -> str | None:
        """How it ended; None while it lives, or where nobody can tell. Blocking."""

    def await_end(self, timeout_s: float) -> bool:
        """Whether it ended within the time, having been asked to. Blocking."""

    def log(self, lines: int) -> list[str]:
        """The end of what it wrote. Blocking."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A process of the notebook's machine, known by its files."""

    folder: Path
    facts: Mapping[str, Any]

    @property
    def scheduler(self) -> str:
        return str(self.facts["scheduler"])

    def is_gone(self) -> bool:
        return not rundir.is_alive(self.facts)

    def why_ended(self) -> str | None:
        return "its host is gone" if self.is_gone() else None

    def await_end(self, timeout_s: float) -> bool:
        return await_end(self.facts, timeout_s)

    def log(self, lines: int) -> list[str]:
        return rundir.tail(self.folder / "host.log", lines)


@dataclass(frozen=True, slots=True)
class AsJob:
    """A job of its own, known by the service's word."""

    session: Session
    hosted: Hosted
    facts: Mapping[str, Any]

    @property
    def scheduler(self) -> str:
        return self.hosted.scheduler or ""

    def with_facts(self, facts: Mapping[str, Any]) -> AsJob:
        return replace(self, facts=facts)

    def is_gone(self) -> bool:
        return False

    def why_ended(self) -> str | None:
        try:
            row = self.session.connect().call("GET", f"/clusters/{self.hosted.id}")
        except SampanError:
            return None
        reason = row["reason"] or {}
        return str(reason.get("text") or "it has ended") if row["state"] == "ended" else None

    def await_end(self, timeout_s: float) -> bool:
        begun_s, told = time.monotonic(), False
        while (waited_s := time.monotonic() - begun_s) < timeout_s:
            try:
                if self._has_ended():
                    return True
                if waited_s > GRACE_S and not told:
                    self.session.connect().call("DELETE", f"/clusters/{self.hosted.id}")
                    told = True
            except ServiceUnavailable:
                pass  # it is asked again: unknown is not ended
            except Refused:
                return True
            time.sleep(POLL_S)
        return False

    def _has_ended(self) -> bool:
        job = self.session.connect().call("GET", f"/jobs/{self.hosted.job}")
        return bool(job["state"] == "ended")

    def log(self, lines: int) -> list[str]:
        try:
            answer = self.session.connect().call("GET", f"/jobs/{self.hosted.job}/log", query={"lines": lines})
        except SampanError as error:
            return [f"(its output cannot be read: {error})"]
        return [str(line) for line in answer["lines"]]
