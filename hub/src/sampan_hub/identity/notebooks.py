"""A notebook job as the hub sees it, and the sentences that tell its owner how it stands. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sampan_hub.look import words


@dataclass(frozen=True, slots=True)
class Notebook:
    """What the hub reads of a job; the rest of the answer may grow."""

    id: str
    owner: str
    name: str
    batch: str
    state: str
    wanted: str
    created_at: str
    reason: str | None = None
    position: int | None = None
    address: str | None = None
    """`scheme://host:port`, without a path."""
    exit_code: int | None = None
    exit_signal: int | None = None
    is_unknown: bool = False
    lost: bool = False
    deadline: datetime | None = None
    """When its walltime ends it; None where it may run on."""

    @property
    def has_ended(self) -> bool:
        return self.state == "ended"

    @property
    def is_ready(self) -> bool:
        """Whether people can be sent to it."""
        return self.state == "running" and self.address is not None

    @property
    def exit_status(self) -> int:
        """As `Popen.returncode` tells it: negative for a signal; 0 where nobody recorded how it ended."""
        if self.exit_signal:
            return -self.exit_signal
        return self.exit_code or 0


def parse_notebook(job: dict[str, Any]) -> Notebook:
    """A notebook from one job of the service's answers."""
    address, exit_, reason = job.get("address"), job.get("exit") or {}, job.get("reason") or {}
    deadline = job.get("deadline")
    return Notebook(
        id=job["id"],
        owner=job["owner"],
        name=job["name"],
        batch=job["batch"],
        state=job["state"],
        wanted=job["wanted"],
        created_at=job["created_at"],
        reason=reason.get("text"),
        position=job.get("position"),
        address=make_url(**address) if address else None,
        exit_code=exit_.get("code"),
        exit_signal=exit_.get("signal"),
        is_unknown=job.get("unknown_since") is not None,
        lost=bool(job.get("lost")),
        deadline=datetime.fromisoformat(deadline) if deadline else None,
    )


def make_url(scheme: str, host: str, port: int) -> str:
    """`scheme://host:port`, an IPv6 address in brackets."""
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def parse_url(address: str) -> tuple[str, str, int]:
    """Scheme, host (without brackets) and port of what `make_url` made."""
    scheme, _, netloc = address.partition("://")
    host, _, port = netloc.rpartition(":")
    return scheme, host.strip("[]"), int(port)


def find_open(notebooks: Iterable[Notebook], owner: str, name: str) -> Notebook | None:
    """The one of this server that has not ended; the newest, should there be a lost one too."""
    found = [one for one in notebooks if (one.owner, one.name) == (owner, name) and not one.has_ended]
    return max(found, key=lambda one: (not one.lost, one.created_at), default=None)


_PERCENT = {"accepted": 10, "submitting": 20, "queued": 30, "starting": 60, "running": 90, "stopping": 90, "ended": 100}
_SENTENCE = {
    "accepted": "Waiting for room on the machine",
    "submitting": "Handing your server over to be started",
    "queued": "Waiting in the queue",
    "starting": "Your server is starting",
    "running": "Your server is running and about to answer",
    "stopping": "Your server is being stopped",
    "ended": "Your server has ended",
}


def describe(notebook: Notebook, now: datetime | None = None) -> tuple[int, str]:
    """Percent and one sentence: what it waits for, its place where there is a queue, when its walltime ends it."""
    sentence = _SENTENCE.get(notebook.state, "Your server is on its way")
    if notebook.is_unknown:
        sentence += "; where it runs cannot be asked at the moment"
    if notebook.position is not None and notebook.state in ("accepted", "queued"):
        sentence += f", place {notebook.position}"
    if notebook.reason:
        sentence += f": {notebook.reason.removeprefix('Waiting for room: ')}"
    if notebook.deadline is not None and notebook.state in ("starting", "running"):
        end = words.moment(notebook.deadline, now or datetime.now(UTC))
        sentence = f"{sentence.rstrip('.')}. It ends at {end} (walltime)"
    return _PERCENT.get(notebook.state, 50), sentence.rstrip(".") + "."


def describe_end(notebook: Notebook) -> str:
    """Why it is not there, for the page that offers to start it again."""
    if notebook.reason:
        return f"Your server ended before it was ready: {notebook.reason.rstrip('.')}."
    how = f"signal {notebook.exit_signal}" if notebook.exit_signal else f"exit code {notebook.exit_code}"
    return f"Your server ended before it was ready ({how}). Its log says more: job {notebook.id}."
