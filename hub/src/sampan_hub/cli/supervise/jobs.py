"""What runs, as the compute service and the notebooks tell it, and asking all of it to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from sampan_hub.cli.supervise.http import NotAnswering, Reply, call
from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.site import Site

FEED_WAIT_S = 1
COUNT_TIMEOUT_S = 2.0


class JobsClient:
    """The jobs API with the administrator's credential of this machine; every method raises NotAnswering."""

    def __init__(self, site: Site, ports: Ports) -> None:
        self._site = site
        self._ports = ports
        self._base = f"{site.base_path}services/sampan/api/v1/"

    def list_unended(self, query: str = "") -> tuple[list[dict[str, Any]], int]:
        """Every job that has not ended, and the revision this was true at."""
        answer = self._ask("GET", f"jobs{query}")
        return [job for job in answer["jobs"] if job["state"] != "ended"], int(answer["revision"])

    def stop(self, ids: list[str], reason: str) -> None:
        self._ask("POST", "jobs/stop", {"ids": ids, "reason": reason})

    def stop_all(
        self, timeout_s: float, reason: str, is_given_up: Callable[[], bool], say: Callable[[str], None]
    ) -> list[dict[str, Any]]:
        """Stops everything and waits; what has not ended in time."""
        deadline_s = time.monotonic() + timeout_s
        left, revision = self.list_unended()
        asked: set[str] = set()
        while left and time.monotonic() < deadline_s and not is_given_up():
            new = [job["id"] for job in left if job["id"] not in asked]
            if new:
                self.stop(new, reason)
                asked.update(new)
            before = len(left)
            left, revision = self.list_unended(f"?revision={revision}&wait={FEED_WAIT_S}")
            if len(left) < before:
                say(f"{len(asked) - len(left)} of {len(asked)} jobs ended")
        return left

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = self._site.service_headers()
        reply = call(method, self._ports.service, self._base + path, headers, body, timeout_s=FEED_WAIT_S + 4)
        if not reply.is_ok:
            raise NotAnswering(f"the service refused {method} {path}: {reply.message}")
        return reply.body


def count_busy_kernels(site: Site, jobs: list[dict[str, Any]]) -> int | None:
    """How many kernels compute now in these notebooks; None when that could not be found out in short time."""
    headers = site.hub_headers()
    running = [job for job in jobs if job["kind"] == "notebook" and job["address"] is not None]
    if any(job["address"]["scheme"] != "http" for job in running):
        return None  # on other machines, where only the front may look

    def ask(job: dict[str, Any]) -> Reply:
        return call("GET", job["address"]["port"], _kernels_path(site, job), headers, None, COUNT_TIMEOUT_S)

    try:
        with ThreadPoolExecutor(max_workers=8) as pool:
            replies = list(pool.map(ask, running))
    except NotAnswering:
        return None
    if not all(reply.is_ok for reply in replies):
        return None
    kernels = [kernel for reply in replies for kernel in reply.body]
    return len([kernel for kernel in kernels if kernel["execution_state"] == "busy"])


def _kernels_path(site: Site, job: dict[str, Any]) -> str:
    """Where the notebook's own server lists its kernels, in JupyterHub's spelling of names."""
    server = f"{quote(job['name'], safe='@~')}/" if job["name"] else ""
    return f"{site.base_path}user/{quote(job['owner'], safe='@~')}/{server}api/kernels"
