"""A small compute service for the client's unit tests: API v1 as far as a cluster needs it, jobs as plain processes.

The real service is met in tests/system; here a test may refuse, hold back and kill as it likes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SIZES = {"small": (1000, 512 * 2**20), "large": (2000, 1024 * 2**20)}


class StandIn:
    """The service: `limit` is how many workers may exist at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.limit = 100
        self.free: int | None = 4
        self.walltime_s: float | None = None
        self.requests: list[tuple[str, str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.bases: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.clusters: dict[str, dict[str, Any]] = {}
        self.revision = 1
        self.changed = threading.Condition()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self.server.daemon_threads = True
        self.threads = [
            threading.Thread(target=self.server.serve_forever, daemon=True),
            threading.Thread(target=self._reap, daemon=True),
        ]
        self.closing = False
        for thread in self.threads:
            thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/services/sampan"

    def close(self) -> None:
        self.closing = True
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
        self.server.shutdown()
        self.server.server_close()
        for thread in self.threads:
            thread.join()

    def live(self) -> list[dict[str, Any]]:
        return [job for job in self.jobs.values() if job["state"] != "ended"]

    def bump(self) -> int:
        with self.changed:
            self.revision += 1
            self.changed.notify_all()
            return self.revision

    # What the API does.

    def post_clusters(self, body: dict[str, Any], _: dict[str, str]) -> dict[str, Any]:
        row = {"id": f"cl-{len(self.clusters)}", "state": "starting", "reason": None, "scheduler": None, **body}
        self.clusters[row["id"]] = row
        return {"cluster": row, "credential": f"{row['id']}.scheduler.mac"}

    def put_cluster(self, cluster: str, body: dict[str, Any]) -> dict[str, Any]:
        self.clusters[cluster].update(body)
        self.bump()
        return self.clusters[cluster]

    def post_jobs(self, body: dict[str, Any], _: dict[str, str]) -> dict[str, Any]:
        if body["batch"] in self.batches:
            return self.batches[body["batch"]]
        items = []
        for index, item in enumerate(body["items"]):
            if len(self.live()) >= self.limit:
                problem = {
                    "type": "about:blank", "title": "Over a limit", "status": 422, "code": "over-limit",
                    "detail": f"user.jobs: {self.limit} of {self.limit} used; an administrator can raise it",
                    "limit": "user.jobs", "used": self.limit, "asked": 1, "maximum": self.limit,
                    "raised_by": "an administrator",
                }  # fmt: skip
                items.append({"index": index, "status": "refused", "job": None, "problem": problem})
                continue
            job = self._start(body["base"], item["name"], item["size"] or body["base"]["size"] or "small")
            items.append({"index": index, "status": "accepted", "job": job, "problem": None})
        answer = {"batch": body["batch"], "items": items, "allowed_now": self.allowed(), "revision": self.bump()}
        self.batches[body["batch"]] = answer
        return answer

    def allowed(self) -> int:
        return max(0, self.limit - len(self.live()))

    def _start(self, base: dict[str, Any], name: str, size: str) -> dict[str, Any]:
        job_id = f"standin.{len(self.jobs):04d}"
        folder = self.folder / job_id
        folder.mkdir(mode=0o700)
        access = {"service": self.url, "job": job_id, "credential": f"{job_id}.bootstrap.mac"}
        (folder / "bootstrap.json").touch(mode=0o600)
        (folder / "bootstrap.json").write_text(json.dumps(access))
        job = {
            "id": job_id, "kind": "worker", "name": name, "size": size, "cluster": base["cluster"], "wanted": "run",
            "state": "starting", "reason": None, "position": None, "unknown_since": None, "lost": False,
            "claimed_at": None, "started_at": None, "ended_at": None, "deadline": None, "cost_micros": None,
        }  # fmt: skip
        self.jobs[job_id] = job
        self.bases[job_id] = base
        environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "SAMPAN_JOB_DIR": str(folder)}
        with (folder / "output.log").open("wb") as output:
            self.processes[job_id] = subprocess.Popen(
                [base["interpreter"] or sys.executable, "-m", "sampan.worker"],
                cwd=base["folder"], env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        return job

    def get_jobs(self, _: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
        deadline = time.monotonic() + min(float(query.get("wait", 0)), 5)
        with self.changed:
            while "revision" in query and self.revision <= int(query["revision"]) and time.monotonic() < deadline:
                self.changed.wait(0.2)
        jobs = [job for job in self.jobs.values() if job["cluster"] == query.get("cluster", job["cluster"])]
        clusters = [row for row in self.clusters.values() if row["id"] == query.get("cluster")]
        return {"revision": self.revision, "jobs": jobs, "clusters": clusters, "allowed_now": self.allowed()}

    def post_stop(self, body: dict[str, Any], _: dict[str, str]) -> dict[str, Any]:
        for job_id in body["ids"]:
            self.jobs[job_id]["wanted"] = "stop"
            if self.processes[job_id].poll() is None:
                self.processes[job_id].terminate()
        return {"items": [], "revision": self.bump()}

    def post_claim(self, job_id: str) -> tuple[int, dict[str, Any]]:
        base, job = self.bases[job_id], self.jobs[job_id]
        for _ in range(500):
            scheduler = self.clusters[base["cluster"]]["scheduler"]
            if scheduler is not None:
                break
            time.sleep(0.02)
        now = datetime.now(UTC)
        job.update(claimed_at=now.isoformat(), started_at=now.isoformat(), state="running")
        if self.walltime_s is not None:
            job["deadline"] = (now + timedelta(seconds=self.walltime_s)).isoformat()
        self.bump()
        cores, memory = SIZES[job["size"]]
        return 200, {
            "credential": f"{job_id}.worker.mac", "kind": "worker", "name": job["name"], "owner": "ana",
            "memory_bytes": memory, "cores_milli": cores, "env": base["env"], "secrets": base["secrets"],
            "expect": base["expect"], "scheduler": scheduler,
        }  # fmt: skip

    def post_report(self, job_id: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body.get("failure"):
            self.jobs[job_id]["reason"] = body["failure"]
        return 200, {}

    def get_offers(self, *_: Any) -> dict[str, Any]:
        free = None if self.free is None else max(0, self.free - len(self.live()))
        sizes = [
            {"name": name, "cores_milli": cores, "memory_bytes": memory, "gpus": 0, "allowed_now": self.allowed(),
             "price_micros_per_hour": 20_000, "free_now": free}
            for name, (cores, memory) in SIZES.items()
        ]  # fmt: skip
        return {"sizes": sizes, "default_size": "small", "currency": "EUR", "paused": None}

    def get_log(self, job_id: str) -> tuple[int, dict[str, Any]]:
        return 200, {"lines": (self.folder / job_id / "output.log").read_text().splitlines(), "truncated": False}

    def _reap(self) -> None:
        while not self.closing:
            for job_id, process in list(self.processes.items()):
                job = self.jobs[job_id]
                if job["deadline"] and datetime.now(UTC) >= datetime.fromisoformat(job["deadline"]):
                    process.kill()
                if job["state"] != "ended" and process.poll() is not None:
                    job["state"], job["ended_at"] = "ended", "2026-01-01T00:01:00Z"
                    job["reason"] = job["reason"] or {"code": "exit", "text": f"exit code {process.returncode}"}
                    self.bump()
            time.sleep(0.05)

    def route(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, dict[str, Any]]:
        whole: dict[tuple[str, str], Callable[..., dict[str, Any]]] = {
            ("POST", "/clusters"): self.post_clusters, ("POST", "/jobs"): self.post_jobs,
            ("GET", "/jobs"): self.get_jobs, ("POST", "/jobs/stop"): self.post_stop,
            ("GET", "/offers"): self.get_offers,
        }  # fmt: skip
        if (method, path) in whole:
            return 200, whole[method, path](body, query)
        kind, subject, *verb = path.strip("/").split("/")
        if kind == "clusters":
            return 200, self.put_cluster(subject, body)
        if verb == ["claim"]:
            return self.post_claim(subject)
        return self.post_report(subject, body) if verb == ["report"] else self.get_log(subject)

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def answer(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
                path = parts.path.partition("/api/v1")[2]
                standin.requests.append((self.command, path, body))
                status, content = standin.route(self.command, path, query, body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # a host that was killed while it waited
                    self.wfile.write(data)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        return Handler
