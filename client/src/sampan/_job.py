"""A job's first and last words to the service: read the bootstrap, claim, report. Standard library only.

Every job of Sampan starts here (notebook and worker alike), before anything heavy is imported:

    bootstrap = read_bootstrap()
    claim = claim_job(bootstrap)             # waits for the service; ends the process if another run owns the job
    report(claim.access, address=...)        # with the job's own credential
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

API_PATH = "/api/v1"
PATIENCE_S = 300.0
"""How long a claim or report outlasts a service that is away; a restart takes seconds, a repair minutes."""
CALL_TIMEOUT_S = 75.0
"""Of one call: longer than the service makes a worker's claim wait for its scheduler."""
LONGEST_PAUSE_S = 5.0


class JobError(Exception):
    """This job cannot go on as it is. The message says what failed and what to do next."""


class ServiceAway(JobError):
    """No answer within the time given; whether the service took the last call is not known."""


class Refused(JobError):
    """The service looked and said no: `code` is for programs, the message is its sentence."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Access:
    """Where the service is, which job speaks, and with which credential (never printed)."""

    service: str
    job: str
    credential: str = field(repr=False)


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


def job_folder() -> Path:
    """The job's private folder, `$SAMPAN_JOB_DIR`."""
    text = os.environ.get("SAMPAN_JOB_DIR")
    if not text:
        raise JobError("SAMPAN_JOB_DIR is not set: this program is started by Sampan, as a job, not by hand")
    return Path(text)


def read_bootstrap() -> Access:
    """Where and as whom to claim, from `$SAMPAN_JOB_DIR/bootstrap.json`; refused unless it is private to us."""
    path = job_folder() / "bootstrap.json"
    content = json.loads(read_private(path))
    return Access(content["service"].rstrip("/"), content["job"], content["credential"])


def read_private(path: Path) -> str:
    """The text of a file that only its owner, who must be us, can read; anything else is refused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise JobError(f"{path} cannot be read ({error.strerror}): start the job again") from error
    with os.fdopen(descriptor, encoding="utf-8") as file:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise JobError(f"{path} is open to other users: nothing in it is trusted; start the job again")
        return file.read()


def write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can ever have read: private before the first byte, there all at once."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    staged.replace(path)


def run_token() -> str:
    """This very process, told apart from every other on every machine: `<pid>:<start time>:<boot id>`."""
    started = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{os.getpid()}:{started}:{boot_id}"


def raise_oom_score(score: int) -> None:
    """Offer this process to the kernel's out-of-memory killer before the scheduler and the hub; never lowers."""
    path = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):  # not Linux as we know it: the job works, only less politely
        if int(path.read_text()) < score:
            path.write_text(str(score))


def claim_job(bootstrap: Access, patience_s: float = PATIENCE_S) -> Claim:
    """Claim the job for this process, waiting out a service that restarts or has nothing to hand over yet.

    Ends the process at once, quietly and with code 0, when another run owns the job or it is no longer wanted.
    """
    body = {"run": run_token(), "host": socket.gethostname()}
    try:
        answer = _call_patiently(bootstrap, "claim", body, patience_s)
    except Refused as refused:
        if refused.status == 409 and refused.code == "exit":
            raise SystemExit(0) from None
        raise
    return Claim(
        access=Access(bootstrap.service, bootstrap.job, answer["credential"]),
        kind=answer["kind"],
        name=answer["name"],
        owner=answer["owner"],
        memory_bytes=answer["memory_bytes"],
        cores_milli=answer["cores_milli"],
        env=answer["env"],
        secrets=answer["secrets"],
        expect=answer["expect"],
        scheduler=answer.get("scheduler"),
    )


def report(
    access: Access,
    *,
    address: tuple[str, int] | None = None,
    busy: bool | None = None,
    failure: tuple[str, str] | None = None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Tell the service where this job listens, whether it works, or why it is about to end (code, sentence).

    Returns when the service took it. Raises `Refused` with its sentence, or `ServiceAway` after `patience_s`.
    """
    body: dict[str, Any] = {}
    if address is not None:
        body["address"] = {"host": address[0], "port": address[1]}
    if busy is not None:
        body["busy"] = busy
    if failure is not None:
        body["failure"] = {"code": failure[0], "text": failure[1][:2000]}
    _call_patiently(access, "report", body, patience_s)


def _call_patiently(access: Access, verb: str, body: Mapping[str, Any], patience_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + patience_s
    pause_s = 0.1
    while True:
        left_s = deadline - time.monotonic()
        try:
            status, asked_pause_s, content = _post(access, verb, body, max(0.1, min(CALL_TIMEOUT_S, left_s)))
        except (OSError, http.client.HTTPException) as error:
            trouble, wait_s = f"{type(error).__name__}: {error}", pause_s
        else:
            if status < 300:
                return content
            if status < 500 and status != 429:
                raise Refused(status, content.get("code", ""), content.get("detail") or f"HTTP {status}")
            trouble, wait_s = content.get("detail") or f"HTTP {status}", asked_pause_s or pause_s
        wait_s = min(wait_s, LONGEST_PAUSE_S) * (0.8 + 0.4 * os.urandom(1)[0] / 255)  # jobs must not return in step
        if time.monotonic() + wait_s > deadline:
            where = f"{access.service} did not take the {verb} of job {access.job} within {patience_s:.0f} s"
            raise ServiceAway(f"{where} ({trouble}): see whether the service runs, then start the job again")
        time.sleep(wait_s)
        pause_s *= 1.6


def _post(
    access: Access, verb: str, body: Mapping[str, Any], timeout_s: float
) -> tuple[int, float | None, dict[str, Any]]:
    url = urlsplit(access.service)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=timeout_s)
    try:
        connection.request(
            "POST",
            f"{url.path}{API_PATH}/jobs/{access.job}/{verb}",
            body=json.dumps(body),
            headers={"Authorization": f"Bearer {access.credential}", "Content-Type": "application/json"},
        )
        answer = connection.getresponse()
        pause = answer.headers.get("Retry-After", "")
        return answer.status, float(pause) if pause.isdecimal() else None, _parse_object(answer.read())
    finally:
        connection.close()


def _parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object of an answer; empty for anything else (a proxy's page, an empty body)."""
    try:
        content = json.loads(raw)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
