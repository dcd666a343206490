"""The API against its own description: what fits the schema, and much that does not, is answered without failing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.contract.api_site import API, ApiSite, running_site


class Served:
    """A site with an event loop of its own, so that a synchronous client can speak to it."""

    def __init__(self, state_dir: Path) -> None:
        self.ready = threading.Event()
        self.end = asyncio.Event()
        self.loop = asyncio.new_event_loop()
        self.site: ApiSite | None = None
        self.credentials: dict[str, str] = {}
        self._state_dir = state_dir
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.loop.run_until_complete(self._serve())
        self.loop.close()

    async def _serve(self) -> None:
        async with running_site(self._state_dir) as site:
            job, notebook = await site.claimed_notebook("ana")
            _, host = await site.make_cluster(notebook)
            bootstrap = site.credential(job["batch"], "bootstrap")
            self.credentials = {"hub": site.hub, "admin": site.admin, "ana": "token-of-ana"}
            self.credentials |= {"notebook": notebook, "scheduler": host, "bootstrap": bootstrap}
            self.site = site
            self.ready.set()
            await self.end.wait()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(tmp_path_factory.mktemp("schema") / "state")
    served.thread.start()
    assert served.ready.wait(30)
    yield served
    served.loop.call_soon_threadsafe(served.end.set)
    served.thread.join(30)
    assert not served.thread.is_alive()


def test_nothing_makes_the_service_fail(served: Served) -> None:
    assert served.site is not None
    schema = schemathesis.openapi.from_url(f"{served.site.root}{API}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 20
    for operation in operations:
        print(f"trying {operation.label}")
        try_operation(operation, served)


def try_operation(operation: Any, served: Served) -> None:
    """Bounded examples of one operation, as every kind of caller."""

    @given(case=operation.as_strategy())
    @settings(max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def attempt(case: Any) -> None:
        if isinstance(case.query, dict) and "wait" in case.query:
            case.query = {**case.query, "wait": 0}
        for caller, credential in served.credentials.items():
            response = case.call(headers={"Authorization": f"Bearer {credential}"})
            assert response.status_code < 500, (caller, response.text)
            if response.status_code >= 400:
                assert response.headers["content-type"][0].startswith("application/problem+json")
                assert response.json()["status"] == response.status_code

    attempt()
