"""A stand-in for what a notebook job talks to: the compute service's claim and report, and the hub's API.

One thread, one port, standard library only. It answers as the wire shapes say and records what it was asked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

JOB = "aaaaaaaa.bbbbbbbbbbbbbbbb"
BOOTSTRAP = "batch-1.bootstrap.mac"
CREDENTIAL = f"{JOB}.notebook.mac"
TOKEN = "server-token-5e1f"
PERSON_TOKEN = "person-token-77aa"

Answer = tuple[int, dict[str, Any]]


@dataclass
class NotebookService:
    """`claim` and `report` may be replaced by what a test wants answered; `reports` has every body in order."""

    port: int = 0
    claim: Callable[[dict[str, Any]], Answer] | None = None
    report: Callable[[dict[str, Any]], Answer] | None = None
    claims: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    activity: list[dict[str, Any]] = field(default_factory=list)

    def __enter__(self) -> NotebookService:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after `stop` on the same port again."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size) or b"{}")
                status, content = service.answer(self.path, self.headers.get("Authorization", ""), body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("X-JupyterHub-Version", "6.1.1")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/sampan"

    @property
    def address(self) -> tuple[str, int] | None:
        """The first address reported."""
        for body in self.reports:
            if "address" in body:
                return body["address"]["host"], body["address"]["port"]
        return None

    def answer(self, path: str, authorization: str, body: dict[str, Any]) -> Answer:
        jobs = f"/services/sampan/api/v1/jobs/{JOB}"
        if path == f"{jobs}/claim" and authorization == f"Bearer {BOOTSTRAP}":
            self.claims.append(body)
            return self.claim(body) if self.claim else (200, self.make_claim())
        if path == f"{jobs}/report" and authorization == f"Bearer {CREDENTIAL}":
            self.reports.append(body)
            return self.report(body) if self.report else (200, {})
        if path.startswith("/hub/api"):
            return self.answer_as_hub(path, authorization, body)
        return 401, {"code": "unknown-credential", "detail": f"{path} is not for {authorization.split('.')[0]}"}

    def answer_as_hub(self, path: str, authorization: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/activity"):
            self.activity.append(body)
            return 200, {}
        if path.startswith("/hub/api/user"):
            if authorization in (f"token {PERSON_TOKEN}", f"Bearer {PERSON_TOKEN}"):
                return 200, {"name": "ana", "kind": "user", "scopes": ["access:servers!server=ana/"], "groups": []}
            return 403, {"message": "no"}
        return 200, {"version": "6.1.1"}

    def make_claim(self) -> dict[str, Any]:
        hub = f"http://127.0.0.1:{self.port}/hub/api"
        return {
            "credential": CREDENTIAL,
            "kind": "notebook",
            "name": "",
            "owner": "ana",
            "memory_bytes": 2**30,
            "cores_milli": 1000,
            "env": {
                "JUPYTERHUB_USER": "ana",
                "JUPYTERHUB_API_URL": hub,
                "JUPYTERHUB_ACTIVITY_URL": f"{hub}/users/ana/activity",
                "JUPYTERHUB_BASE_URL": "/",
                "JUPYTERHUB_CLIENT_ID": "jupyterhub-user-ana",
                "JUPYTERHUB_SERVER_NAME": "",
                "JUPYTERHUB_SERVICE_PREFIX": "/user/ana/",
                "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/user/ana/",
                "JUPYTERHUB_OAUTH_CALLBACK_URL": "/user/ana/oauth_callback",
                "JUPYTERHUB_OAUTH_ACCESS_SCOPES": '["access:servers!server=ana/"]',
                "JUPYTERHUB_OAUTH_SCOPES": '["access:servers!server=ana/"]',
            },
            "secrets": {"JUPYTERHUB_API_TOKEN": TOKEN},
            "expect": {},
            "scheduler": None,
        }


def write_bootstrap(folder: Path, service: str) -> None:
    """The private folder of one notebook job, as a backend makes it."""
    folder.mkdir(mode=0o700)
    path = folder / "bootstrap.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({"service": service, "job": JOB, "credential": BOOTSTRAP}))
