"""Settings as YAML for people: what is in effect, with every secret masked."""

from __future__ import annotations

import io

from ruamel.yaml import YAML

from sampan_hub.settings.model import Settings


def render_settings(settings: Settings) -> str:
    """All keys that have a value, in the spelling of the file; reads back to the same settings, secrets apart."""
    yaml = YAML()
    yaml.width = 4096
    out = io.StringIO()
    yaml.dump(settings.model_dump(mode="json", by_alias=True, exclude_none=True), out)
    return out.getvalue()
