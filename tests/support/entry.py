"""An installation as one meets it from outside, at its HTTPS entry."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from sampan_hub.jobs.keys import make_credential
from tests.support.installation import wait_until

Said = TypeVar("Said")


class Entry:
    """Requests to the hub and the service. Whoever has one says its `url`, its authority and its keys."""

    url: str
    """Without a slash at its end."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="talk to kernels", daemon=True)

    @property
    def authority(self) -> str:
        """The certificate (PEM) by which to know it."""
        raise NotImplementedError

    def key(self, name: str) -> bytes:
        """One of its key files."""
        raise NotImplementedError

    def sampan(self, *words: str) -> str:
        """What a `sampan` command prints where it is installed."""
        raise NotImplementedError

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority)

    def talk(self, coroutine: Coroutine[Any, Any, Said]) -> Said:
        """What it returns, run in one loop that lasts as long as the entry, so that connections can end in peace."""
        if not self._thread.is_alive():
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """One request; the status and the decoded body (the text when it is not JSON)."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.trust)
        )
        try:
            with opener.open(request, timeout=60) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, content = error.code, error.read()
        try:
            return status, json.loads(content)
        except ValueError:
            return status, content.decode(errors="replace")

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """The service's API with an administrator's credential; the answer of a request that went well."""
        credential = make_credential(self.key("service.key"), "cli", "admin")
        path = f"/services/sampan/api/v1{path}"
        status, answer = self.ask(method, path, body, {"Authorization": f"Bearer {credential}"})
        assert status == 200, (status, answer)
        return answer

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.admin("GET", f"/jobs/{job_id}"))

    def jobs(self, **selection: str) -> list[dict[str, Any]]:
        """The jobs of a selection (owner, kind, cluster, parent, state)."""
        query = "&".join(f"{key}={value}" for key, value in selection.items())
        return list(self.admin("GET", f"/jobs?{query}")["jobs"])

    def wait_for_job(self, job_id: str, *states: str, timeout_s: float = 60) -> dict[str, Any]:
        """Until its state is one of these; the job then."""

        def arrived() -> dict[str, Any] | None:
            job = self.job(job_id)
            return job if job["state"] in states else None

        try:
            return dict(wait_until(arrived, timeout_s, f"{job_id} {' or '.join(states)}"))
        except TimeoutError as error:
            raise TimeoutError(f"{error}; it is {self.job(job_id)}") from None
