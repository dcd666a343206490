"""The authenticator of `login:`, which the hub must be able to import."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import entry_points

from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.settings.model import ClassLogin, Login

GROUP = "jupyterhub.authenticators"


def check_login(login: Login | None) -> Iterator[Trouble]:
    """Its class can be imported, by the name JupyterHub knows it under or by its path."""
    if not isinstance(login, ClassLogin):
        return
    registered = {point.name.lower(): point.value for point in entry_points(group=GROUP)}
    target = registered.get(login.class_.lower(), login.class_)
    module, _, name = target.replace(":", ".").rpartition(".")
    if not module:
        known = ", ".join(sorted(registered))
        yield Trouble(f"no authenticator is called {login.class_!r}", f"name its class in full, or one of: {known}")
        return
    try:
        getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        text = f"the authenticator {login.class_} cannot be imported: {error}"
        yield Trouble(text, "install it beside the hub, or correct `login.class`")
