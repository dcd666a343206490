"""A job's first and last words to the service: read the bootstrap, claim, report. Standard library only.

Every job of Sampan starts here (notebook and worker alike), before anything heavy is imported:

    bootstrap = read_bootstrap()
    claim = claim_job(bootstrap)             # waits for the service; ends the process if another run owns the job
    report(claim.access, address=...)        # with the job's own credential
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sampan._api import Service
from sampan.errors import Refused, SampanError
from sampan.network import Ports, choose_address

PATIENCE_S = 300.0
"""How long a claim or report outlasts a service that is away; a restart takes seconds, a repair minutes."""
CALL_TIMEOUT_S = 75.0
"""Of one call: longer than the service makes a worker's claim wait for its scheduler."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the service is, which job speaks, and with which credential (never printed)."""

    service: str
    job: str
    credential: str = field(repr=False)
    ca: str | None = field(default=None, repr=False)
    """Certificates (PEM) by which to know a service on another machine."""
    network: str | None = None
    """Where such a machine's jobs listen (CIDR)."""

    def post(self, verb: str, body: Mapping[str, Any], patience_s: float) -> dict[str, Any]:
        """`POST /jobs/{id}/<verb>`, repeated while the service is away. Raises `Refused` or `ServiceUnavailable`."""
        return Service(self.service, self.credential, ca=self.ca).call_patiently(
            "POST", f"/jobs/{self.job}/{verb}", dict(body), patience_s=patience_s, timeout_s=CALL_TIMEOUT_S
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """What the service hands the one run that may work under this job's id."""

    access: Access
    """With the job's own credential; the bootstrap's is not used again."""
    kind: str
    name: str
    owner: str
    memory_bytes: int
    cores_milli: int
    env: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    expect: Mapping[str, str]
    scheduler: str | None
    address: str | None = None
    """Where this job told the service that it will listen; None for one beside the service."""
    network: str | None = None
    ports: Ports | None = None
    tls: Mapping[str, str] | None = field(default=None, repr=False)
    """Notebook on another machine: `certificate`, `key` and `clients`, PEM."""
    cluster: Mapping[str, Any] | None = field(default=None, repr=False)
    """Scheduler: `id`, `credential` and `options` of the cluster that it is the host of."""
    host_jobs: bool = False
    """Notebook: the hosts of its clusters may have to be jobs of their own."""


def job_folder() -> Path:
    """The job's private folder, `$SAMPAN_JOB_DIR`."""
    text = os.environ.get("SAMPAN_JOB_DIR")
    if not text:
        raise SampanError("SAMPAN_JOB_DIR is not set: this program is started by Sampan, as a job, not by hand")
    return Path(text)


def read_bootstrap() -> Access:
    """Where and as whom to claim, from `$SAMPAN_JOB_DIR/bootstrap.json`; refused unless it is private to us.

    What holds no secret comes as `$SAMPAN_BOOTSTRAP`: the credential of a pod is a file that its cluster keeps there.
    """
    given = os.environ.get("SAMPAN_BOOTSTRAP")
    content = json.loads(given or read_private(job_folder() / "bootstrap.json"))
    return Access(
        content["service"].rstrip("/"),
        content["job"],
        _read_token(Path(content["credential_file"])) if given else content["credential"],
        ca=content.get("ca"),
        network=content.get("network"),
    )


def _read_token(path: Path) -> str:
    """The token that the cluster keeps in this pod: not private to one user, for nobody else is in the pod."""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise SampanError(f"{path} cannot be read ({error.strerror}): start the job again") from error


def read_private(path: Path) -> str:
    """The text of a file that only its owner, who must be us, can read; anything else is refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise SampanError(f"{path} cannot be read ({error.strerror}): start the job again") from error
    with os.fdopen(descriptor, encoding="utf-8") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise SampanError(f"{path} is open to other users: nothing in it is trusted; start the job again")
        return file.read()


def run_token() -> str:
    """This very run, told apart from every other on every machine: `<pid>:<start time>:<boot id>`, or what the
    backend calls it (`$SAMPAN_RUN`)."""
    if given := os.environ.get("SAMPAN_RUN"):
        return given
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{os.getpid()}:{started}:{boot_id}"


def raise_oom_score(score: int) -> None:
    """Offer this process to the kernel's out-of-memory killer before the scheduler and the hub; never lowers."""
    path = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):  # not Linux as we know it: the job works, only less politely
        if int(path.read_text()) < score:
            path.write_text(str(score))


def lower_oom_score(score: int) -> None:
    """Take back what this process inherited from a kernel, which is to go first; never raises.

    Linux lets a process without privileges go back to the lowest score that a privileged one gave it (mostly 0).
    """
    path = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):
        if int(path.read_text()) > score:
            path.write_text(str(score))


def claim_job(bootstrap: Access, patience_s: float = PATIENCE_S) -> Claim:
    """Claim the job for this process, waiting out a service that restarts or has nothing to hand over yet.

    Ends the process at once, quietly and with code 0, when another run owns the job or it is no longer wanted.
    """
    said: dict[str, Any] = {"run": run_token(), "host": socket.gethostname()}
    if bootstrap.service.startswith("https:"):
        said["address"] = choose_address(bootstrap.network, bootstrap.service)
    try:
        answer = bootstrap.post("claim", said, patience_s)
    except Refused as refused:
        if refused.status == 409 and refused.code == "exit":
            raise SystemExit(0) from None
        raise
    return Claim(
        access=replace(bootstrap, credential=answer["credential"]),
        kind=answer["kind"],
        name=answer["name"],
        owner=answer["owner"],
        memory_bytes=answer["memory_bytes"],
        cores_milli=answer["cores_milli"],
        env=answer["env"],
        secrets=answer["secrets"],
        expect=answer["expect"],
        scheduler=answer.get("scheduler"),
        address=said.get("address"),
        network=answer.get("network"),
        ports=tuple(answer["ports"]) if answer.get("ports") else None,
        tls=answer.get("tls"),
        cluster=answer.get("cluster"),
        host_jobs=bool(answer.get("host_jobs")),
    )


def report(
    access: Access,
    *,
    address: tuple[str, int] | None = None,
    over_tls: bool = False,
    busy: bool | None = None,
    failure: tuple[str, str] | None = None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Tell the service where this job listens, whether it works, or why it is about to end (code, sentence).

    Returns when the service took it. Raises `Refused` with its sentence, or `ServiceUnavailable` after `patience_s`.
    """
    body: dict[str, Any] = {}
    if address is not None:
        body["address"] = {"host": address[0], "port": address[1], **({"scheme": "https"} if over_tls else {})}
    if busy is not None:
        body["busy"] = busy
    if failure is not None:
        body["failure"] = {"code": failure[0], "text": failure[1][:2000]}
    access.post("report", body, patience_s)
