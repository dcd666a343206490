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
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlencode, urlsplit

from sampan.errors import NotTheService, SampanError, ServiceUnavailable, make_error
from sampan.network import LOOPBACK, Ports, parse_ports

if TYPE_CHECKING:
    import ssl

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


@lru_cache(maxsize=4)
def _make_context(ca: str | None) -> ssl.SSLContext:
    """Believes these certificates alone; without any, those that this machine believes."""
    import ssl  # only where the service is on another machine

    return ssl.create_default_context(cadata=ca)


def _unanswered(what: str, error: BaseException | None) -> ServiceUnavailable:
    """No usable answer came: from nobody, or from somebody who is not the service."""
    if type(error).__name__ == "SSLCertVerificationError":
        return NotTheService(
            f"Who answers {what} is not the compute service that started this job ({error}). Start the job again; "
            "if that does not help, an administrator looks at `sampan check`"
        )
    return ServiceUnavailable(f"The compute service did not answer {what}: {error}")


@dataclass(frozen=True, slots=True)
class Service:
    """Where the service is (its base URL, without `/api/v1`) and as whom to speak to it."""

    base: str
    credential: str
    scheme: str = "Bearer"
    ca: str | None = None
    """Certificates (PEM) by which to know a service on another machine. None: those that this machine knows."""

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
        headers = self._headers
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection = self._connect(parts, timeout_s)
        try:
            connection.request(method, f"{parts.path}?{parts.query}".rstrip("?"), body=data, headers=headers)
            response = connection.getresponse()
            return _read_answer(response.status, response.read(), response.getheader("Retry-After"), what)
        except (OSError, http.client.HTTPException) as error:
            raise _unanswered(what, error) from error
        finally:
            connection.close()

    def _connect(self, parts: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=_make_context(self.ca))
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)

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
        """`call`, repeated while the service is unavailable, for `patience_s`. Only for idempotent requests.

        Not repeated where somebody else answers: `NotTheService`.
        """
        deadline = time.monotonic() + patience_s
        pause_s = 0.1
        while True:
            try:
                return self.call(method, path, body, query=query, timeout_s=timeout_s)
            except NotTheService:
                raise
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
        url = self._url(path, query)
        request = HTTPRequest(
            url,
            method=method,
            headers=headers,
            body=data,
            request_timeout=timeout_s,
            connect_timeout=5.0,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            ssl_options=_make_context(self.ca) if url.startswith("https:") else None,
        )
        try:
            response = await AsyncHTTPClient().fetch(request, raise_error=False)
        except (OSError, HTTPClientError) as error:
            raise _unanswered(what, error) from error
        if response.code == 599:
            raise _unanswered(what, response.error)
        return _read_answer(response.code, response.body or b"", response.headers.get("Retry-After"), what)


@dataclass(frozen=True, slots=True)
class Session:
    """What a notebook job exports to its kernels: who they are and how to reach the service."""

    service: str
    job: str
    credential_file: Path
    job_dir: Path
    ca_file: Path | None = None
    """Certificates by which to know a service on another machine."""
    address: str = LOOPBACK
    """Where the schedulers of its clusters listen."""
    ports: Ports | None = None
    host_jobs: bool = False
    """Whether the hosts of its clusters may have to be jobs of their own; the service says when asked for one."""

    def connect(self) -> Service:
        """The service, spoken to as this notebook."""
        try:
            ca = self.ca_file.read_text() if self.ca_file is not None else None
            return Service(self.service, self.credential_file.read_text().strip(), ca=ca)
        except OSError as error:
            raise SampanError(f"The notebook's file {error.filename} cannot be read: {error.strerror}") from error


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
            ca_file=Path(environ["SAMPAN_CA_FILE"]) if environ.get("SAMPAN_CA_FILE") else None,
            address=environ.get("SAMPAN_ADDRESS", LOOPBACK),
            ports=parse_ports(environ.get("SAMPAN_PORTS", "")),
            host_jobs=bool(environ.get("SAMPAN_HOST_JOBS")),
        )
    except KeyError as error:
        raise SampanError(
            f"SAMPAN_SERVICE is set but {error.args[0]} is not: this process does not have a notebook's environment"
        ) from None
