"""A refused or failed start, in a shape that survives on all of JupyterHub's pages."""

from __future__ import annotations

from collections.abc import Sequence

from jupyterhub.spawner import SpawnException

from sampan_hub.identity.form import environment


class SpawnRefused(SpawnException):
    """Says the same sentence in the API, on the form, the pending page and /user; pages show the end of the log too.

    JupyterHub 6.1 reads a refusal under two names, and on the pages that offer a retry finds only these.
    """

    def __init__(
        self, text: str, *, code: str, status: int, page: str | None = None, log_lines: Sequence[str] = ()
    ) -> None:
        super().__init__(text, reason=code, status_code=status)
        self.jupyterhub_message = text
        template = environment().get_template("refusal.html")
        self.jupyterhub_html_message = template.render(text=text, page=page, lines=log_lines)
