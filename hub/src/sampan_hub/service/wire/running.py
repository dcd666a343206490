"""What a job's own process says and hears: the claim and the reports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sampan_hub.service.wire.base import Answer, Request


class ClaimRequest(Request):
    """POST /jobs/{id}/claim with the bootstrap credential. `run` is the run identity's token."""

    run: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    host: Annotated[str, StringConstraints(max_length=255)]


class ClaimAnswer(Answer):
    """The first valid claim gets this (and again, if the same run asks again before it acknowledged by a report).

    Any other run gets 409 with code `exit`: it must end at once and touch nothing.
    """

    credential: str
    """`id.kind.mac`: replaces the bootstrap credential from here on."""
    kind: str
    name: str
    owner: str
    memory_bytes: int
    cores_milli: int
    env: dict[str, str]
    secrets: dict[str, str]
    expect: dict[str, str]
    scheduler: str | None = None
    """Worker: address of its cluster's scheduler (the claim waits for it, bounded; 503 + Retry-After then)."""


class AddressReport(Request):
    scheme: Literal["http", "https"] = "http"
    host: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    port: int = Field(ge=1, le=65535)


class ReasonReport(Request):
    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
    text: Annotated[str, StringConstraints(max_length=2000)]


class ReportRequest(Request):
    """POST /jobs/{id}/report with the job's own credential. Every field is optional; absent means unchanged."""

    address: AddressReport | None = None
    busy: bool | None = None
    failure: ReasonReport | None = None
    """The job is about to end by itself and says why (memory limit, environment differs)."""
