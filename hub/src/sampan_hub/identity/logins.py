"""`login:` in the settings -> JupyterHub's authenticator. Any installed one passes through, with its traits checked."""

from __future__ import annotations

import getpass
from difflib import get_close_matches
from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.traitlets import EntryPointType
from traitlets import TraitError
from traitlets.config import Config

from sampan_hub.identity.authenticator import LinkAuthenticator
from sampan_hub.settings.findings import Finding, SettingsError
from sampan_hub.settings.model import ClassLogin, Settings
from sampan_hub.settings.paths import StatePaths


def apply_login(c: Config, settings: Settings, paths: StatePaths) -> None:
    """Set the authenticator and who administers; raises SettingsError for a class or trait that is not there."""
    admins = set(settings.admins)
    if isinstance(settings.login, ClassLogin):
        _apply_class(c, settings.login, admins)
    else:
        c.JupyterHub.authenticator_class = LinkAuthenticator
        c.LinkAuthenticator.paths = paths
        c.LinkAuthenticator.allow_all = True  # a valid link is the permission
        if settings.profile == "laptop":
            admins.add(getpass.getuser().lower())
        c.LinkAuthenticator.admin_users = admins


def find_authenticator(name: str) -> type[Authenticator]:
    """The class of an entry-point name (`generic-oauth`) or dotted path; raises SettingsError."""
    kind = EntryPointType(klass=Authenticator, entry_point_group="jupyterhub.authenticators")
    try:
        found = kind.validate(None, name)
    except (TraitError, ImportError, AttributeError) as error:
        known = ", ".join(sorted(kind.load_entry_points()))
        text = f"{name!r} is not an installed authenticator (by name: {known})"
        raise SettingsError([Finding("login.class", text, remedy="install its package or correct the name")]) from error
    if not (isinstance(found, type) and issubclass(found, Authenticator)):
        raise SettingsError([Finding("login.class", f"{name!r} is not an authenticator")])
    return found


def unknown_traits(authenticator: type[Authenticator], config: dict[str, Any]) -> list[Finding]:
    """One finding for each key that this authenticator does not take."""
    known = list(authenticator.class_trait_names(config=True))
    findings = []
    for key in config:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            findings.append(Finding(f"login.config.{key}", f"{authenticator.__name__} has no such setting{hint}"))
    return findings


def _apply_class(c: Config, login: ClassLogin, admins: set[str]) -> None:
    authenticator = find_authenticator(login.class_)
    findings = unknown_traits(authenticator, login.config)
    if findings:
        raise SettingsError(findings)
    c.JupyterHub.authenticator_class = authenticator
    section = c[authenticator.__name__]
    for key, value in login.config.items():
        section[key] = value
    if admins:
        section["admin_users"] = admins | set(login.config.get("admin_users", ()))
