"""What a job's own process says and hears: the claim and the reports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, IPvAnyAddress, StringConstraints

from sampan_hub.service.wire.base import Answer, Request


class ClaimRequest(Request):
    """POST /jobs/{id}/claim with the bootstrap credential. `run` is the run identity's token."""

    run: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    host: Annotated[str, StringConstraints(max_length=255)]
    address: IPvAnyAddress | None = None
    """Where a job on another machine will listen: its machine's address in the network of the bootstrap."""


class TlsView(Answer):
    """What a notebook on another machine serves with, PEM; as secret as the rest of the claim."""

    certificate: str
    """For the host name and address of the claim, its common name being the job's id; a new one at every claim."""
    key: str
    clients: str
    """The authority whose certificates may connect: those of proxy, hub and service."""


class ClusterClaim(Answer):
    """What a job that is a cluster's host works with."""

    id: str
    credential: str
    """The cluster's, as `ClusterAnswer` has it: to submit and see its workers, to renew its lease."""
    options: dict[str, Any]
    """As its notebook gave them with `ClusterRequest.host`."""


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
    network: str | None = None
    """Listen on the machine's address in this network (CIDR). Absent: on loopback, or, with `ports` or `tls`, on the
    address from which the service is reached."""
    ports: tuple[int, int] | None = None
    """The first and last port to listen on. Absent: any."""
    tls: TlsView | None = None
    """Notebook on another machine. Without it, a notebook listens on loopback or not at all."""
    cluster: ClusterClaim | None = None
    """Scheduler: the cluster that it is the host of."""
    host_jobs: bool = False
    """Notebook: there may be backends where the hosts of its clusters are jobs, so that it asks with what they need."""


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
