"""Who asks: credentials made by this service, and JupyterHub's tokens. Deny by default.

What each may do with jobs and clusters is `policy`; here it is only who they are and whether they still live.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from sampan_hub.jobs.keys import Credential, CredentialKind, parse_credential
from sampan_hub.jobs.model import Cluster, Job
from sampan_hub.service.hubusers import HubUnreachable, HubUser
from sampan_hub.service.problems import ApiProblem, fail

CallerKind = CredentialKind | Literal["user"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who speaks in one request. `owner` is the person whose work it is; None for the hub and the command line."""

    kind: CallerKind
    subject: str
    owner: str | None = None
    admin: bool = False
    job: Job | None = None
    """The notebook or worker that speaks."""
    cluster: Cluster | None = None
    """The cluster whose host speaks."""

    @property
    def sees_all(self) -> bool:
        """Whether it may see and stop everybody's work."""
        return self.admin or self.kind == "hub"

    @property
    def called(self) -> str:
        """How a job's owner reads of it: `Stopped by ...`."""
        names = {"hub": "the hub", "admin": "an administrator", "notebook": "its notebook", "scheduler": "its cluster"}
        return names.get(self.kind, self.subject)


class Authenticator:
    """Turns an Authorization header into a Caller, or raises the problem to answer.

    The mac needs no database; that the job or cluster still lives is one indexed read.
    """

    def __init__(
        self,
        service_key: bytes,
        resolve_token: Callable[[str], Awaitable[HubUser | None]],
        find_job: Callable[[str], Awaitable[Job | None]],
        find_cluster: Callable[[str], Awaitable[Cluster | None]],
    ) -> None:
        self._key = service_key
        self._resolve_token = resolve_token
        self._find_job = find_job
        self._find_cluster = find_cluster

    async def caller(self, authorization: str | None) -> Caller:
        """Who this header speaks for; raises 401, 403 or (the hub does not answer) 503."""
        scheme, _, text = (authorization or "").partition(" ")
        text = text.strip()
        if scheme.lower() not in ("bearer", "token") or not text:
            raise fail(401, "not-authenticated", "Send `Authorization: Bearer` or `token` with a credential.")
        credential = parse_credential(self._key, text)
        if credential is not None:
            return await self._credential_caller(credential)
        if text.count(".") >= 2:
            raise fail(401, "not-authenticated", "This credential was not made by this installation.")
        return await self._person(text)

    async def _credential_caller(self, credential: Credential) -> Caller:
        match credential.kind:
            case "hub" | "bootstrap":
                return Caller(credential.kind, credential.subject)
            case "admin":
                return Caller(credential.kind, credential.subject, admin=True)
            case "scheduler":
                return _cluster_caller(credential, await self._find_cluster(credential.subject))
            case "notebook" | "worker":
                return _job_caller(credential, await self._find_job(credential.subject))

    async def _person(self, token: str) -> Caller:
        try:
            user = await self._resolve_token(token)
        except HubUnreachable as error:
            detail = f"Nobody can be recognised by a JupyterHub token now: {error}. Jobs and clusters work on."
            raise fail(503, "hub-unreachable", detail, retry_after_s=2) from error
        if user is None:
            raise fail(
                401, "not-authenticated", "JupyterHub does not know this token: it is wrong, revoked or expired."
            )
        if not user.may_enter:
            scope = "access:services!service=sampan"
            raise fail(403, "scope-missing", f"This token does not reach the service: it needs the scope {scope}.")
        return Caller("user", user.name, owner=user.name, admin=user.admin)


def _job_caller(credential: Credential, job: Job | None) -> Caller:
    if job is None:
        raise _not_on_record(credential)
    if job.is_ended:
        raise _dead(credential, "job")
    return Caller(credential.kind, job.id, owner=job.owner, job=job)


def _cluster_caller(credential: Credential, cluster: Cluster | None) -> Caller:
    if cluster is None:
        raise _not_on_record(credential)
    if cluster.is_ended:
        raise _dead(credential, "cluster")
    return Caller(credential.kind, cluster.id, owner=cluster.owner, cluster=cluster)


def _dead(credential: Credential, what: str) -> ApiProblem:
    return fail(401, "credential-dead", f"The {what} {credential.subject} has ended, and its credential with it.")


def _not_on_record(credential: Credential) -> ApiProblem:
    """A genuine credential without a row: after a restored database the next listings bring it back."""
    detail = f"{credential.subject} is not on record here (yet): running jobs are recognised at the next listing."
    return fail(503, "not-on-record", detail, retry_after_s=5)
