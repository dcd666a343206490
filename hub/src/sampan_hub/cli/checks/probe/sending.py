"""Puts the probe into the queue as a person, reads what it says, connects back to it, and removes every trace."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from sampan_hub.backends.base import BackendError
from sampan_hub.backends.slurm.acting import Acting
from sampan_hub.cli.checks.slurm_facts import Ask
from sampan_hub.privilege.requests import Options, Submit

WAIT_S = 120
POLL_S = 1.0
CONNECT_TIMEOUT_S = 10
MINUTES = 2
LINES = 200
INSTANCE = "checking"
"""In place of an installation's id: the service takes the probe for another installation's, and leaves it alone."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


@dataclass(frozen=True, slots=True)
class Order:
    """What the probe is to look at, as whom, where."""

    user: str
    python: str
    """The environment's."""
    squeue: str
    placed: Mapping[str, Any]
    """Of sbatch's options those that place a job: partition, account, …"""
    told: Mapping[str, Any]
    """What the probe is told: url, ca, packages, network, ports."""


@dataclass(slots=True)
class Outcome:
    """What became of it. `lines` by kind."""

    lines: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_words: str = ""
    """The last line of its output that it did not say itself: why it could not begin."""
    refused: str = ""
    """Why it could not be put into the queue."""
    waited: str = ""
    """In which state, and for what, it still was when time was up; empty when it began."""
    reached: str | None = None
    """Why this machine could not connect to the node; empty when it could, None when that was not tried."""


async def send(order: Order, acting: Acting, ask: Ask) -> Outcome:
    """The outcome, after at most about two minutes; nothing of the probe is left in queue or home."""
    outcome = Outcome()
    name = f"sampan.{INSTANCE}.{''.join(secrets.choice(_LETTERS) for _ in range(24))}.0"
    stage = f"{name}.0"
    try:
        started = await acting.submit(_make_request(order, name, stage))
    except BackendError as error:
        outcome.refused = str(error)
        return outcome
    try:
        await _watch(order, acting, ask, stage, name, outcome)
    except BackendError as error:
        outcome.refused = str(error)
    finally:
        await acting.cancel(order.user, [str(started.slurm_job)], name)
        await acting.remove_stages(order.user, [stage])
    return outcome


def _make_request(order: Order, name: str, stage: str) -> Submit:
    program = files(__package__) / "start.py"
    contents = {"start.py": program.read_bytes(), "probe.json": json.dumps(dict(order.told)).encode()}
    small = {"cpus": 1, "memory_mb": 256, "gpus": 0, "gres": None, "minutes": MINUTES, "tasks": None}
    options = Options(name=name, comment="sampan-check", **{**order.placed, **small})
    return Submit(order.user, stage, contents, order.python, options)


async def _watch(order: Order, acting: Acting, ask: Ask, stage: str, name: str, outcome: Outcome) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        tail = await acting.log(order.user, stage, "job.log", LINES)
        outcome.lines = parse_lines(tail.lines)
        outcome.last_words = next((line for line in reversed(tail.lines) if line and line[0] != "{"), "")
        place = outcome.lines.get("listening", {})
        if place.get("ok") and outcome.reached is None:
            outcome.reached = await asyncio.to_thread(_reach, place["address"], place["port"])
        state = await asyncio.to_thread(_state, ask, order.squeue, name)
        outcome.waited = "" if outcome.lines else state
        if "end" in outcome.lines or state.startswith(("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")):
            return
        await asyncio.sleep(POLL_S)


def parse_lines(lines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the probe said, by kind; whatever else a node writes into a job's output is left out."""
    found = {}
    for line in lines:
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and isinstance(said.get("kind"), str):
            found[said["kind"]] = said
    return found


def _state(ask: Ask, squeue: str, name: str) -> str:
    answer = ask([squeue, "--noheader", "--all", "--states=all", f"--name={name}", "--format=%T (%r)"])
    return answer.text.strip()


def _reach(address: str, port: int) -> str:
    """Why not; empty when it can be connected to."""
    try:
        socket.create_connection((address, port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return f"{address} port {port}: {error.strerror or error}"
    return ""
