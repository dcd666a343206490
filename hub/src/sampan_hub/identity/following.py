"""A spawner that follows one job: what it stores of it, hears of it, and how it ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from jupyterhub.spawner import Spawner
from sqlalchemy import inspect
from traitlets import Any as AnyTrait

from sampan_hub.identity.feed import Feed, Follow
from sampan_hub.identity.notebooks import Notebook, parse_url
from sampan_hub.identity.submission import ask_to_stop
from sampan_hub.identity.tokens import revoke_server_tokens

ASK_AGAIN_S = 2.0


class FollowingSpawner(Spawner):
    """Polls, stops and reroutes by the hub's one feed. Its job is known by id, or by the key it was asked for under."""

    make_feed = AnyTrait(help="Makes the hub's feed; called once per hub process.").tag(config=True)

    _job_id: str | None = None
    _batch: str | None = None
    _was_ready = False
    """Whether its address was known, to this hub or the one before."""

    # What JupyterHub stores and restores

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self._job_id, self._batch = state.get("job"), state.get("batch")
        self._was_ready = bool(state.get("ready"))
        if self.follows is not None:
            self._feed.watch(self)

    def get_state(self) -> dict[str, Any]:
        kept = {"job": self._job_id, "batch": self._batch, "ready": self._was_ready}
        return {**super().get_state(), **{key: value for key, value in kept.items() if value}}

    def clear_state(self) -> None:
        super().clear_state()
        self._forget_job()

    def _forget_job(self) -> None:
        """Nothing is asked of the service any more: there is nothing to poll or to stop."""
        self._job_id, self._batch, self._was_ready = None, None, False

    def _store_state(self) -> None:
        """At once, not at the end of the start: a hub killed before that finds its job again by it."""
        self.orm_spawner.state = self.get_state()
        self._session.commit()

    @property
    def _session(self) -> Any:
        return inspect(self.orm_spawner).session

    # What is heard

    @property
    def _feed(self) -> Feed:
        shared = self.user.settings
        if "sampan_feed" not in shared:
            shared["sampan_feed"] = self.make_feed(self.log)
        feed: Feed = shared["sampan_feed"]
        return feed

    @property
    def job_id(self) -> str | None:
        """Its job; None while none is known."""
        return self._job_id

    @property
    def follows(self) -> Follow | None:
        """Which job this is about; None while nothing was asked for."""
        if self._job_id is None and self._batch is None:
            return None
        return Follow(self.user.name, self.name, self._job_id, self._batch)

    @property
    def _notebook(self) -> Notebook | None:
        follow = self.follows
        return self._feed.find(follow) if follow else None

    @property
    def _is_over(self) -> bool:
        """Whether the service said that it ended (or, ready, has not known it for long)."""
        follow = self.follows
        if follow is None:
            return True
        notebook = self._feed.find(follow)
        return notebook.has_ended if notebook else self._feed.is_gone(follow)

    async def poll(self) -> int | None:
        """None for every state but ended, also while the service cannot be asked. Never raises, never waits."""
        if not self._is_over:
            return None
        notebook = self._notebook
        return notebook.exit_status if notebook else 0

    def see(self) -> None:
        """A new listing is there: act on an end or a new address at once."""
        notebook = self._notebook
        if notebook is None:
            return
        if self._job_id is None:
            self._job_id = notebook.id
            self._store_state()
        if self.pending:
            return  # whoever made it pending waits for the same news
        if notebook.has_ended:
            self._in_background(self.poll_and_notify())
        elif notebook.is_ready and self.server is not None and notebook.address != self.server.host:
            self._in_background(self._move_route(notebook.address))

    async def _move_route(self, address: str | None) -> None:
        if address is not None:
            self.server.proto, self.server.ip, self.server.port = parse_url(address)
            self._session.commit()
            await self._add_route()

    async def _add_route(self) -> None:
        await self.user.settings["proxy"].add_user(self.user, self.name)

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(work)
        tasks: set[Any] = self.user.settings.setdefault("sampan_tasks", set())
        tasks.add(task)  # the loop itself keeps only weak references
        task.add_done_callback(tasks.discard)

    # How it ends

    async def start(self) -> str:
        raise NotImplementedError

    async def stop(self, now: bool = False) -> None:  # noqa: ARG002 - JupyterHub's signature
        """Ask, and ask again, until the service confirms the end (or calls it lost, which frees its name)."""
        while not self._is_over:
            notebook = self._notebook
            if notebook is not None and notebook.lost:
                return
            job_id = notebook.id if notebook else self._job_id
            if job_id is not None and not await ask_to_stop(self._feed, job_id, "its owner stopped it", self.log):
                return
            if job_id is None and self._feed.heard:
                self._feed.abandon(str(self._batch))
                return
            await self._feed.change(ASK_AGAIN_S)

    def run_post_stop_hook(self) -> Any:
        self._revoke_tokens()
        return super().run_post_stop_hook()

    def _revoke_tokens(self, but: str = "") -> None:
        revoke_server_tokens(self._session, self.user.orm_user, self.user.base_url, self.name, but=but)
