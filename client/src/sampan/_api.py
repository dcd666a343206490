"""The only HTTP of this package: JSON to and from the compute service, problem details to exceptions.

`Service.call` needs nothing but the standard library, so that a job can claim and a host can submit before anything
heavy is imported; `Service.call_async` is for the host's event loop.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from sampan.errors import SampanError, ServiceUnavailable, make_error

API = "/api/v1"
Json = dict[str, Any]


def _query(query: Mapping[str, Any] | None) -> str:
    asked = {name: value for name, value in (query or {}).items() if value is not None}
    return "?" + urlencode(asked, doseq=True) if asked else ""


def _read_answer(status: int, body: bytes, retry_after: str | None, what: str) -> Json:
    """The decoded answer of a success; the exception for everything else."""
    try:
        answer = json.loads(body) if body else {}
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    if 200 <= status < 300:
        return answer
    if retry_after is not None and retry_after.isdigit():
        answer["retry_after_s"] = float(retry_after)
    raise make_error(status, answer, what)


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is (its base URL, without `/api/v1`) and as whom to speak to it."""

    base: str
    credential: str
    scheme: str = "Bearer"

    def __repr__(self) -> str:
        return f"Service({self.base!r})"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"{self.scheme} {self.credential}", "Accept": "application/json"}

    def _url(self, path: str, query: Mapping[str, Any] | None) -> str:
        return self.base.rstrip("/") + API + path + _query(query)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        timeout_s: float = 30.0,
    ) -> Json:
        """One request, from any thread. Raises `Refused`, `NotAccepted` or `ServiceUnavailable`."""
        what = f"{method} {path}"
        parts = urlsplit(self._url(path, query))
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        headers = self._headers
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        try:
            connection.request(method, f"{parts.path}?{parts.query}".rstrip("?"), body=data, headers=headers)
            response = connection.getresponse()
            return _read_answer(response.status, response.read(), response.getheader("Retry-After"), what)
        except (OSError, http.client.HTTPException) as error:
            raise ServiceUnavailable(f"The compute service did not answer {what}: {error}") from error
        finally:
            connection.close()

    def call_patiently(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        patience_s: float,
        timeout_s: float = 30.0,
        query: Mapping[str, Any] | None = None,
    ) -> Json:
        """`call`, repeated while the service is unavailable, for `patience_s`. Only for idempotent requests."""
        deadline = time.monotonic() + patience_s
        pause_s = 0.1
        while True:
            try:
                return self.call(method, path, body, query=query, timeout_s=timeout_s)
            except ServiceUnavailable as error:
                wait_s = max(error.retry_after_s or 0.0, pause_s)
                if time.monotonic() + wait_s > deadline:
                    raise
                time.sleep(wait_s)
                pause_s = min(pause_s * 2, 2.0)

    async def call_async(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, Any] | None = None,
        timeout_s: float = 30.0,
    ) -> Json:
        """The same on the running event loop (tornado's client: distributed has imported it already)."""
        from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

        what = f"{method} {path}"
        headers = self._headers
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = HTTPRequest(
            self._url(path, query),
            method=method,
            headers=headers,
            body=data,
            request_timeout=timeout_s,
            connect_timeout=5.0,
            follow_redirects=False,
            allow_nonstandard_methods=True,
        )
        try:
            response = await AsyncHTTPClient().fetch(request, raise_error=False)
        except (OSError, HTTPClientError) as error:
            raise ServiceUnavailable(f"The compute service did not answer {what}: {error}") from error
        if response.code == 599:
            raise ServiceUnavailable(f"The compute service did not answer {what}: {response.error}")
        return _read_answer(response.code, response.body or b"", response.headers.get("Retry-After"), what)


@dataclass(frozen=True, slots=True)
class Session:
    """What a notebook job exports to its kernels: who they are and how to reach the service."""

    service: str
    job: str
    credential_file: Path
    job_dir: Path

    def connect(self) -> Service:
        """The service, spoken to as this notebook."""
        try:
            return Service(self.service, self.credential_file.read_text().strip())
        except OSError as error:
            raise SampanError(f"The notebook's credential {self.credential_file} cannot be read: {error}") from error


def read_session(environ: Mapping[str, str] | None = None) -> Session | None:
    """The notebook session this process belongs to; None where there is no service."""
    environ = os.environ if environ is None else environ
    base = environ.get("SAMPAN_SERVICE")
    if not base:
        return None
    try:
        return Session(
            base,
            environ["SAMPAN_JOB"],
            Path(environ["SAMPAN_CREDENTIAL_FILE"]),
            Path(environ["SAMPAN_JOB_DIR"]),
        )
    except KeyError as error:
        raise SampanError(
            f"SAMPAN_SERVICE is set but {error.args[0]} is not: this process does not have a notebook's environment"
        ) from None
