"""Link login: a secret in a URL becomes a login cookie."""

from __future__ import annotations

from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from traitlets import Any as AnyTrait

from sampan_hub.identity.form import TEMPLATES
from sampan_hub.identity.links import redeem, revoke
from sampan_hub.settings.paths import StatePaths

SECRET_ARGUMENT = "token"  # noqa: S105 - the name of the parameter; JupyterHub keeps this one out of its logs


class LinkAuthenticator(Authenticator):
    """Lets in whoever brings a link that this installation made, on its own machine."""

    paths: StatePaths = AnyTrait(help="The state folder.").tag(config=True)

    def get_handlers(self, _app: Any) -> list[tuple[str, type[BaseHandler]]]:
        return [(r"/link", LinkHandler)]

    def get_custom_html(self, _base_url: str) -> str:
        return (TEMPLATES / "link_help.html").read_text()

    async def authenticate(self, _handler: BaseHandler, data: dict[str, Any] | None) -> str | None:
        """The person a link logs in; spends the link. What a login form sends has no such field and gets nothing."""
        secret = (data or {}).get(SECRET_ARGUMENT)
        return redeem(self.paths, secret) if isinstance(secret, str) else None

    def delete_user(self, user: Any) -> None:
        """A person who is removed is not let in again by an old link."""
        revoke(self.paths, user.name)
        super().delete_user(user)


class LinkHandler(BaseHandler):
    """`GET /hub/link?token=…`: spends the link, sets the cookie, goes to `next` or the person's server.

    GET alone: programs that look at links before a person does ask with HEAD, and get 405.
    """

    async def prepare(self) -> None:
        """Take the secret out of the request first, so that no log line, error or redirect made of it shows it."""
        values = self.request.arguments.pop(SECRET_ARGUMENT, [])
        self.request.query_arguments.pop(SECRET_ARGUMENT, None)
        self.request.uri = self.request.path
        self.request.query = ""
        self._secret = values[-1].decode("ascii", "replace") if values else ""
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")
        await super().prepare()

    async def get(self) -> None:
        """Log in and lead on; for a link that is spent or too old, say so and what to do."""
        user = await self.login_user({SECRET_ARGUMENT: self._secret, "username": "a link"})
        if user is None:
            self.set_status(403)
            self.finish(await self.render_template("link_spent.html"))
            return
        self._jupyterhub_user = user
        self.redirect(self.get_next_url(user))
