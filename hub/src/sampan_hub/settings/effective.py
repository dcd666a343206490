"""The settings as everything runs by them: read, completed from the machine, and judged."""

from __future__ import annotations

from pathlib import Path

from sampan_hub.settings.defaults import complete
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.load import load_settings
from sampan_hub.settings.machine import detect_machine
from sampan_hub.settings.model import Settings
from sampan_hub.settings.policy import refusals


def effective_settings(path: Path | None = None) -> Settings:
    """What `load_settings` reads, with all defaults; raises SettingsError when Sampan must not run by them."""
    settings = complete(load_settings(path), detect_machine())
    refused = refusals(settings)
    if refused:
        raise SettingsError(refused)
    return settings
