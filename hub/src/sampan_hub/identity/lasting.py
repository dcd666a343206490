"""A spawner whose server outlives the hub: what JupyterHub 6.1 does at a restart, put right.

By itself it stops live servers that do not answer in time, and forgets starts that were under way.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from jupyterhub import __version__
from jupyterhub.objects import Server
from jupyterhub.spawner import Spawner
from traitlets import Any as AnyTrait

from sampan_hub.identity.compute import ServiceError
from sampan_hub.identity.following import ASK_AGAIN_S, FollowingSpawner
from sampan_hub.identity.notebooks import describe_end
from sampan_hub.identity.refusals import SpawnRefused

ATTEMPT_S = 30.0
"""How long one wait for a starting server's HTTP answer lasts, before the next."""
ATTEMPT_AT_RESTART_S = 2.0
"""How long a restarted hub waits for a live server's answer: it is live whatever it answers."""


LAST_LINES = 20
"""How much of its log is shown beside the news that a start failed."""


class LiveWithoutAnswer:
    """Stands for the answer of a server that the service sees running while it is too busy to answer the hub.

    It is taken for one of this version: JupyterHub would otherwise call it ancient.
    """

    def __init__(self) -> None:
        self.headers = {"X-JupyterHub-Version": __version__}


class LastingSpawner(FollowingSpawner):
    """Only the service's word ends a server; no timeout of the hub does."""

    make_tls_context = AnyTrait(help="Makes the TLS context for servers on other machines.").tag(config=True)

    _spawn_future: asyncio.Future[Any] | None = None

    async def start(self) -> str:
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """JupyterHub routes to what is ready, and takes a server without an address for it: one at a random port."""
        return bool(super().ready) and (self._was_ready or self._listens)

    # JupyterHub asks at its restart whether and where the server is

    async def poll(self) -> int | None:
        """As ever; but a hub that has just started first gives the service a moment to say what ended meanwhile."""
        if self._check_pending:
            await self._settles_within(ATTEMPT_AT_RESTART_S)
        return await super().poll()

    async def get_url(self) -> str:
        """Where it listens. A start that a killed hub left behind goes on here, as a start."""
        if self._check_pending and not (self._is_settled or self._was_ready):
            await self._resume_start()
        notebook = self._notebook
        if notebook is not None and notebook.is_ready:
            self._was_ready = True
            return f"{notebook.address}{self.server.base_url}"
        return str(self.server.url)

    @property
    def _is_settled(self) -> bool:
        """Whether it listens, is over, or is on its way to be."""
        notebook = self._notebook
        return self._is_over or (notebook is not None and (notebook.is_ready or notebook.wanted == "stop"))

    async def _settle(self) -> None:
        while not self._is_settled:
            await self._feed.change(ASK_AGAIN_S)

    async def _settles_within(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._settle(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def _resume_start(self) -> None:
        """Until it is settled; meanwhile JupyterHub shows it, and can cancel it, as the start that it is."""
        future = asyncio.ensure_future(self._settle())
        self._spawn_future, self._check_pending, self._spawn_pending = future, False, True
        try:
            await asyncio.wait([future])
        finally:
            self._spawn_pending, self._spawn_future = False, None
            # a cancelled start is about to be stopped, for which nothing may be pending
            self._check_pending = not future.cancelled()

    # JupyterHub waits for an answer of the server: through `server.wait_up`, with a timeout that ends it

    @property
    def server(self) -> Any:
        server = Spawner.server.fget(self)
        if server is not None:
            server.wait_up = self._wait_up
        return server

    @server.setter
    def server(self, server: Any) -> None:
        Spawner.server.fset(self, server)

    async def _wait_up(self, **options: Any) -> Any:
        """The server's answer, however long it takes. Raises, as JupyterHub's own wait does, once it is over."""
        at_restart = not self._spawn_pending
        while not self._is_over:
            if not self._listens:
                await self._feed.change(ASK_AGAIN_S)
                continue
            answer = await self._answer_within(ATTEMPT_AT_RESTART_S if at_restart else ATTEMPT_S, options)
            if answer is None and at_restart and self._listens:
                answer = LiveWithoutAnswer()
            if answer is not None:
                if at_restart:
                    self._in_background(self._route_when_checked())
                return answer
        if at_restart:
            raise TimeoutError("it ended while the hub was away")
        raise await self._ended_early()

    async def _answer_within(self, timeout_s: float, options: dict[str, Any]) -> Any:
        """None when there is none in time, or it is over: JupyterHub's own wait hangs on a server that only listens."""
        asked = {**options, "timeout": timeout_s, "ssl_context": self._tls_context}
        attempt = asyncio.ensure_future(Server.wait_up(self.server, **asked))
        over = asyncio.ensure_future(self._until_over())
        try:
            await asyncio.wait({attempt, over}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            attempt.cancel()
            outcomes = await asyncio.gather(attempt, over, return_exceptions=True)
        return None if isinstance(outcomes[0], BaseException) else outcomes[0]

    @property
    def _tls_context(self) -> ssl.SSLContext | None:
        """How to look at a server on another machine: as one of those whom it lets in. One for the hub process."""
        if self.server.proto != "https" or self.make_tls_context is None:
            return None
        shared = self.user.settings
        if "sampan_tls_context" not in shared:
            shared["sampan_tls_context"] = self.make_tls_context()
        context: ssl.SSLContext = shared["sampan_tls_context"]
        return context

    async def _until_over(self) -> None:
        while not self._is_over:
            await self._feed.change(ASK_AGAIN_S)

    @property
    def _listens(self) -> bool:
        """Whether the service says so; while it says nothing, whether it did."""
        notebook = self._notebook
        return notebook.is_ready if notebook is not None else self._was_ready

    async def _ended_early(self) -> SpawnRefused:
        notebook = self._notebook
        if notebook is None:
            text = "Your server was gone before it was ready. Start it again."
            return SpawnRefused(text, code="ended", status=500)
        page = f"{self.user.settings['base_url']}services/sampan/jobs/{notebook.id}"
        lines = await self._last_lines(notebook.id)
        return SpawnRefused(describe_end(notebook), code="ended", status=500, page=page, log_lines=lines)

    async def _last_lines(self, job_id: str) -> list[str]:
        """The end of its log; nothing while the service does not say."""
        try:
            return await self._feed.compute.log(job_id, LAST_LINES)
        except ServiceError as error:
            self.log.warning("The log of job %s cannot be read: %s", job_id, error)
            return []

    async def _route_when_checked(self) -> None:
        """A server found again gets its route now, not when the slowest other check is done."""
        for _ in range(100):
            if not self._check_pending:
                break
            await asyncio.sleep(0)
        if self.ready:
            await self._add_route()
