"""The settings as everything runs by them: read, completed from the machine, and judged."""

from __future__ import annotations

from pathlib import Path

from sampan_hub.settings.defaults import complete
from sampan_hub.settings.findings import Finding, SettingsError
from sampan_hub.settings.load import load_settings
from sampan_hub.settings.machine import detect_machine
from sampan_hub.settings.model import Settings
from sampan_hub.settings.policy import front_refusals, refusals


def effective_settings(path: Path | None = None) -> Settings:
    """What `load_settings` reads, with all defaults; raises SettingsError when Sampan must not run by them."""
    settings = complete(load_settings(path), detect_machine())
    _refuse(refusals(settings))
    return settings


def front_settings(path: Path | None = None) -> Settings:
    """The same for who only listens: with a `layout`, of the keys that say where (`load.FRONT_KEYS`), and no other."""
    settings = complete(load_settings(path, front=True), detect_machine())
    _refuse(refusals(settings) if settings.layout is None else front_refusals(settings))
    return settings


def _refuse(findings: list[Finding]) -> None:
    if findings:
        raise SettingsError(findings)
