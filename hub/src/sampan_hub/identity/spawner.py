"""JobSpawner: a person's server is a notebook job of the compute service, and the service decides about it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import default

from sampan_hub.identity.compute import RefusedByService, ServiceError
from sampan_hub.identity.following import ASK_AGAIN_S
from sampan_hub.identity.form import render_form, where_to_start
from sampan_hub.identity.lasting import LastingSpawner
from sampan_hub.identity.notebooks import Notebook, describe
from sampan_hub.identity.options import OptionRefused, check_options, parse_form
from sampan_hub.identity.refusals import SpawnRefused
from sampan_hub.identity.submission import batch_of, end_previous, submit_patiently
from sampan_hub.settings.model import Settings

SECRET_VARIABLES = frozenset({"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"})

FIRST_CAUSE_S = 1.5
"""A start that nobody has taken by then is told why it waits."""
ASKING = "Asking for your server."
NOT_TAKEN = "Waiting for the compute service to take it; it may just be restarting."


class JobSpawner(LastingSpawner):
    """Starts a server as a job, with options that are checked however they come."""

    settings = AnyTrait(help="The installation's settings.").tag(config=True)

    # Start

    async def start(self) -> str:
        """The URL of a notebook that runs and listens; raises SpawnRefused with the service's own sentence."""
        self._revoke_tokens(but=self.api_token)
        notebook = await self._submit()
        self._job_id = notebook.id
        self._store_state()
        self._feed.learn(notebook)
        return await self._wait_for_address()

    async def _submit(self) -> Notebook:
        """One notebook job, whose key is stored before it is asked for."""
        while True:
            key = secrets.token_hex(16)
            self._batch = batch_of(key)
            self._store_state()
            self._feed.watch(self)
            try:
                return await submit_patiently(self._feed, self._request(key))
            except SpawnRefused:
                self._forget_job()
                raise
            except RefusedByService as error:
                self._forget_job()
                if error.code != "notebook-exists":
                    raise SpawnRefused(str(error), code=error.code, status=error.status) from error
                await end_previous(self._feed, self.user.name, self.name, self.log)

    def _request(self, key: str) -> dict[str, Any]:
        env = {key: str(value) for key, value in self.get_env().items() if value is not None}
        base: dict[str, Any] = {
            "kind": "notebook",
            "owner": self.user.name,
            "env": {key: value for key, value in env.items() if key not in SECRET_VARIABLES},
            "secrets": {key: value for key, value in env.items() if key in SECRET_VARIABLES},
            **self.checked(self.user_options),
        }
        return {"batch": key, "base": base, "items": [{"name": self.name}]}

    async def _wait_for_address(self) -> str:
        while True:
            notebook = self._notebook
            if notebook is not None and notebook.is_ready:
                self._was_ready = True
                return str(notebook.address)
            if self._is_over:
                raise await self._ended_early()
            await self._feed.change(ASK_AGAIN_S)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """A sentence whenever what it waits for has changed; JupyterHub ends this with the start."""
        said = None
        asked = False
        while True:
            percent, sentence = describe(self._notebook) if self._notebook else (5, NOT_TAKEN if asked else ASKING)
            if sentence != said:
                yield {"progress": percent, "message": sentence}
                said = sentence
            await self._feed.change(ASK_AGAIN_S if asked else FIRST_CAUSE_S)
            asked = True

    # Options

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Callable[..., None]:
        return refuse_options

    @default("options_from_form")
    def _options_from_form(self) -> Callable[..., dict[str, Any]]:
        return parse_form

    @default("options_form")
    def _default_options_form(self) -> Callable[..., Any]:
        return render_options_form

    def checked(self, options: dict[str, Any]) -> dict[str, str]:
        """The options, all of them allowed; raises OptionRefused."""
        settings: Settings = self.settings
        return check_options(settings, self.user.name, options)

    def forget_options(self) -> None:
        """A refused option is not kept for the next start, as JupyterHub would."""
        self.orm_spawner.user_options = {}
        self._session.commit()


def refuse_options(spawner: JobSpawner, options: dict[str, Any]) -> None:
    """Answer 400 to what is not allowed, before anything starts."""
    try:
        spawner.checked(options)
    except OptionRefused as error:
        spawner.forget_options()
        raise SpawnRefused(str(error), code="option", status=400) from error


async def render_options_form(spawner: JobSpawner) -> str:
    """The cards to choose from; without the service, what the settings know."""
    owner = spawner.user.name
    compute, places = spawner._feed.compute, where_to_start(spawner.settings, owner)
    try:
        offers = {place: await compute.offers(owner, *place) for place in places}
    except ServiceError:
        offers = {}
    return render_form(spawner.settings, owner, spawner.user_options, offers)
