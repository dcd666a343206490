"""The hub's side of the compute service's API: the only HTTP of this package."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import aiohttp

from sampan_hub.identity.notebooks import Notebook, parse_notebook

ASK_TIMEOUT_S = 10.0
AT_ONCE = 16
"""Requests that may be out together; when a whole class starts, the rest wait here, where no timeout runs yet."""


class ServiceError(Exception):
    """The compute service did not do what was asked; the message says what and why."""


class Unreachable(ServiceError):
    """No answer. `maybe_arrived`: the request may have been carried out all the same."""

    def __init__(self, text: str, *, maybe_arrived: bool) -> None:
        super().__init__(text)
        self.maybe_arrived = maybe_arrived


class RefusedByService(ServiceError):
    """The service understood and said no: `code` for programs, the message for people."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Listing:
    """Every notebook the service shows, at one revision."""

    revision: int
    notebooks: tuple[Notebook, ...]


class ComputeClient:
    """Requests with the hub's credential. Make and use it inside the hub's event loop."""

    def __init__(self, base_url: str, credential: str) -> None:
        """`base_url`: `http://127.0.0.1:PORT/services/sampan`."""
        self._url = f"{base_url.rstrip('/')}/api/v1"
        self._readyz = f"{base_url.rstrip('/')}/readyz"
        self._headers = {"Authorization": f"Bearer {credential}"}
        self._session: aiohttp.ClientSession | None = None
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def submit(self, request: dict[str, Any]) -> Notebook:
        """Ask for one notebook; raises RefusedByService with the item's own reason."""
        answer = await self._call("POST", "/jobs", json=request)
        item = answer["items"][0]
        if item["status"] == "accepted":
            return parse_notebook(item["job"])
        problem = item["problem"]
        raise RefusedByService(problem["status"], problem["code"], problem["detail"])

    async def notebooks(self, revision: int | None = None, wait_s: int = 0) -> Listing:
        """All notebooks that have not ended, at once or (`wait_s`) when something is newer than `revision`."""
        query: dict[str, Any] = {"kind": "notebook"}
        if revision is not None:
            query |= {"revision": revision, "wait": wait_s}
        answer = await self._call("GET", "/jobs", params=query, timeout_s=wait_s + ASK_TIMEOUT_S)
        jobs = (job for job in answer["jobs"] if job["kind"] == "notebook")
        return Listing(answer["revision"], tuple(parse_notebook(job) for job in jobs))

    async def notebook(self, job_id: str) -> Notebook | None:
        """One notebook, also after its end; None when the service has no such job."""
        try:
            return parse_notebook(await self._call("GET", f"/jobs/{job_id}"))
        except RefusedByService as error:
            if error.status == 404:
                return None
            raise

    async def stop(self, job_id: str, reason: str) -> None:
        """Ask for the end of a job. Returning says that the wish is recorded, not that the job is gone."""
        await self._call("POST", "/jobs/stop", json={"ids": [job_id], "reason": reason})

    async def offers(self, owner: str, project: str, backend: str) -> dict[str, Any]:
        """What this person may choose from in this project, on this backend."""
        return await self._call("GET", "/offers", params={"owner": owner, "project": project, "backend": backend})

    async def log(self, job_id: str, lines: int) -> list[str]:
        """The end of a job's output, also after its end."""
        answer = await self._call("GET", f"/jobs/{job_id}/log", params={"lines": lines})
        return [str(line) for line in answer["lines"]]

    async def is_ready(self) -> bool:
        """Whether the service has had a good listing from every backend: only then does absence mean anything."""
        try:
            await self._request("GET", self._readyz)
        except ServiceError:
            return False
        return True

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer = await self._request(method, self._url + path, **options)
        if not isinstance(answer, dict):
            raise ServiceError(f"{method} {path} was answered with something else than an object")
        return answer

    async def _request(self, method: str, url: str, *, timeout_s: float = ASK_TIMEOUT_S, **options: Any) -> Any:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._session = aiohttp.ClientSession(headers=self._headers, connector=connector, trust_env=False)
        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=3)
        is_long_poll = timeout_s > ASK_TIMEOUT_S
        try:
            async with (
                nullcontext() if is_long_poll else self._slots,
                self._session.request(method, url, timeout=timeout, **options) as answer,
            ):
                if answer.status >= 400:
                    raise await _refusal(answer)
                return await answer.json(content_type=None)
        except aiohttp.ClientConnectorError as error:
            raise Unreachable("the compute service does not answer", maybe_arrived=False) from error
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unreachable(f"the compute service broke off: {type(error).__name__}", maybe_arrived=True) from error


async def _refusal(answer: aiohttp.ClientResponse) -> ServiceError:
    """The error in an answer; one of the service's own failing (5xx) says nothing about the request."""
    problem = {}
    if "json" in answer.content_type:
        problem = await answer.json(content_type=None)
    detail = problem.get("detail") or f"the compute service answered {answer.status}"
    if answer.status >= 500:
        return Unreachable(str(detail), maybe_arrived=answer.status != 503)
    return RefusedByService(answer.status, str(problem.get("code", "refused")), str(detail))
