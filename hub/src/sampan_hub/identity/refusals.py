"""A refused start, in a shape that survives on all of JupyterHub's pages."""

from __future__ import annotations

from jupyterhub.spawner import SpawnException


class SpawnRefused(SpawnException):
    """Says the same sentence in the API, on the form, the pending page and /user.

    JupyterHub 6.1 reads a refusal under two names, and on the pages that offer a retry finds only this one.
    """

    def __init__(self, text: str, *, code: str, status: int) -> None:
        super().__init__(text, reason=code, status_code=status)
        self.jupyterhub_message = text
