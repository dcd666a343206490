"""The one list and watch: what breaks, what expires, what comes late. Over a small API server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from sampan_hub.backends.base import BackendError
from sampan_hub.backends.kubernetes import states, waiting, watching
from sampan_hub.backends.kubernetes.client import ApiUnreachable, KubeClient
from sampan_hub.backends.kubernetes.watching import Pods, is_newer, make_slim
from tests.unit.kubernetes_cases import make_cases
from tests.unit.kubernetes_server import NAMESPACE, KubeServer, serve, status

PATH = f"/api/v1/namespaces/{NAMESPACE}/pods"


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": {"mine": "yes"}, **metadata}}


@asynccontextmanager
async def following() -> AsyncIterator[tuple[KubeServer, Pods]]:
    async with serve() as server:
        client = KubeClient(server.access)
        pods = Pods(client, PATH, "mine=yes")
        try:
            yield server, pods
        finally:
            await pods.close()
            await client.close()


async def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        await asyncio.sleep(0.01)


async def started(server: KubeServer, pods: Pods) -> None:
    pods.start()
    await until(lambda: pods.is_following, "a watch")


async def test_what_is_listed_and_what_comes_later_is_known_without_another_request() -> None:
    async with following() as (server, pods):
        await server.put_pod(pod("first"))
        await server.put_pod({"metadata": {"name": "foreign", "labels": {}}})
        await started(server, pods)
        assert list(pods.by_name) == ["first"]
        asked = len(server.requests)
        await server.put_pod(pod("second"))
        await server.set_status("first", {"phase": "Running"})
        await until(lambda: pods.by_name["first"]["status"]["phase"] == "Running", "the change")
        assert set(pods.by_name) == {"first", "second"}
        await pods.ensure_current(60)
        assert len(server.requests) == asked


async def test_a_long_list_comes_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PAGE", 3)
    async with following() as (server, pods):
        for number in range(10):
            await server.put_pod(pod(f"pod-{number}"))
        await pods.look()
        assert len(pods.by_name) == 10
        assert server.count("GET pods") == 4


async def test_changes_are_announced_and_bookmarks_are_not() -> None:
    async with following() as (server, pods):
        await started(server, pods)
        calls: list[None] = []
        pods.on_change = lambda: calls.append(None)
        await server.bookmark()
        await server.put_pod(pod("first"))
        await until(lambda: pods.by_name, "the pod")
        assert len(calls) == 1


async def test_listing_what_is_known_already_is_no_change() -> None:
    async with following() as (server, pods):
        calls: list[None] = []
        pods.on_change = lambda: calls.append(None)
        await server.put_pod(pod("first"))
        await pods.look()
        await pods.look()
        assert len(calls) == 1, "or every look would ask for the next"


async def test_without_a_watch_listings_are_not_made_at_every_look() -> None:
    async with following() as (server, pods):

        async def no_watch(request: web.Request) -> web.Response | None:
            return status(403, "Forbidden") if "watch" in request.query else None

        server.fault = no_watch
        pods.start()
        for _ in range(20):
            await pods.ensure_current(60)
        assert server.count("GET pods") <= 2
        asked = server.count("GET pods")
        await pods.ensure_current(0)
        assert server.count("GET pods") == asked + 1


async def test_a_broken_watch_goes_on_where_it_broke_and_misses_nothing() -> None:
    async with following() as (server, pods):
        await server.put_pod(pod("first"))
        await started(server, pods)
        await server.break_watches()
        await until(lambda: not pods.is_following, "the break")
        await server.put_pod(pod("second"))
        await server.remove_pod("first")
        await until(lambda: set(pods.by_name) == {"second"}, "what happened meanwhile")
        assert [gone["metadata"]["name"] for gone in pods.gone()] == ["first"]
        assert server.count("GET pods") == 1, "no second listing was needed"


async def test_an_expired_version_is_listed_anew_and_shows_what_went() -> None:
    async with following() as (server, pods):
        kept = await server.put_pod(pod("kept"))
        await server.put_pod(pod("going"))
        await started(server, pods)
        async with server._changed:  # nobody tells of this deletion: the history is lost
            del server.objects["pods"]["going"]
        await server.expire()
        await until(lambda: set(pods.by_name) == {"kept"}, "the new listing")
        assert [gone["metadata"]["name"] for gone in pods.gone()] == ["going"]
        assert pods.by_name["kept"]["metadata"]["uid"] == kept["metadata"]["uid"]
        await until(lambda: pods.is_following, "a new watch")


async def test_a_watch_refused_as_too_old_is_answered_by_a_listing() -> None:
    async with following() as (server, pods):
        await server.put_pod(pod("first"))
        await started(server, pods)
        server.version += 10
        server.oldest = server.version
        await server.break_watches()
        await until(lambda: server.count("GET pods") == 2 and pods.is_following, "listing and watch")
        assert set(pods.by_name) == {"first"}


async def test_while_the_server_is_away_looking_raises_and_afterwards_all_is_as_before() -> None:
    async with following() as (server, pods):
        await server.put_pod(pod("first"))
        await started(server, pods)

        async def away(_request: web.Request) -> web.Response:
            return status(503, "ServiceUnavailable", "the server is shutting down")

        server.fault = away
        await server.break_watches()
        await until(lambda: not pods.is_following, "the break")
        with pytest.raises(BackendError, match="503"):
            await pods.ensure_current(0)
        assert set(pods.by_name) == {"first"}, "nothing is concluded from silence"
        server.fault = None
        await pods.ensure_current(60)
        await until(lambda: pods.is_following, "the watch again")


async def test_a_silent_server_is_asked_whether_it_is_there() -> None:
    async with following() as (server, pods):
        await started(server, pods)
        asked = server.count("GET pods")
        await pods.ensure_current(60)
        assert server.count("GET pods") == asked
        await pods.ensure_current(0)
        assert server.count("GET pods") == asked + 1

        async def away(_request: web.Request) -> web.Response:
            return status(500, "InternalError")

        server.fault = away
        with pytest.raises(BackendError):
            await pods.ensure_current(0)


async def test_a_watch_without_a_word_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SILENCE_S", 0.2)
    async with following() as (server, pods):
        await started(server, pods)
        await until(lambda: server.count("WATCH pods") >= 3, "new watches")


async def test_failing_watches_are_tried_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "PAUSE_AT_LEAST_S", 0.01)
    async with following() as (server, pods):

        async def away(_request: web.Request) -> web.Response:
            return status(500, "InternalError")

        server.fault = away
        pods.start()
        await until(lambda: len(server.requests) >= 5, "tries")
        begun = time.monotonic()
        await until(lambda: len(server.requests) >= 7, "more tries")
        assert time.monotonic() - begun > 0.1


async def test_a_late_answer_brings_nothing_back_and_an_older_one_changes_nothing() -> None:
    async with following() as (server, pods):
        await started(server, pods)
        early = await server.put_pod(pod("first"))
        await server.set_status("first", {"phase": "Running"})
        await until(lambda: pods.by_name.get("first", {}).get("status") == {"phase": "Running"}, "the change")
        pods.note(early)
        assert pods.by_name["first"]["status"] == {"phase": "Running"}
        await server.remove_pod("first")
        await until(lambda: not pods.by_name, "the deletion")
        pods.note(early)
        assert not pods.by_name


async def test_an_answer_is_known_before_the_watch_tells_it() -> None:
    async with following() as (server, pods):
        made = await server.put_pod(pod("first"))
        pods.note(made)
        assert set(pods.by_name) == {"first"}


async def test_another_pod_of_the_same_name_ends_the_first() -> None:
    async with following() as (server, pods):
        first = await server.put_pod(pod("same"))
        pods.note(first)
        second = await server.put_pod(pod("same"))
        pods.note(second)
        assert pods.by_name["same"]["metadata"]["uid"] == second["metadata"]["uid"]
        assert [gone["metadata"]["uid"] for gone in pods.gone()] == [first["metadata"]["uid"]]
        pods.forget_gone(pods.gone())
        assert pods.gone() == []


async def test_an_answer_that_is_no_list_is_no_answer() -> None:
    async with following() as (server, pods):
        for answer in (b"[]", b'{"items": []}', b"<html>", b'{"metadata": {}}'):

            async def garbled(_request: web.Request, answer: bytes = answer) -> web.Response:
                return web.Response(body=answer)

            server.fault = garbled
            with pytest.raises(ApiUnreachable):
                await pods.look()


async def test_listings_asked_for_together_are_one() -> None:
    async with following() as (server, pods):
        await asyncio.gather(*(pods.look() for _ in range(5)))
        assert server.count("GET pods") <= 2


def test_versions_are_numbers() -> None:
    assert is_newer("10", "9")
    assert not is_newer("9", "9")
    assert is_newer("a", "b"), "where they are no numbers, another one counts as newer"


def test_of_a_pod_only_what_is_looked_at_is_kept() -> None:
    made = make_cases()["worker_home_shared"]
    pod_there = {**made, "metadata": {**made["metadata"], "managedFields": [{}] * 9}, "status": {"phase": "Running"}}
    slim = make_slim(pod_there)
    assert len(json.dumps(slim)) < len(json.dumps(made)) / 2
    for read in (states.phase_of, states.end_code, waiting.explain_waiting, states.main_status):
        assert read(slim) == read(pod_there)
    assert slim["metadata"]["annotations"] == made["metadata"]["annotations"]
