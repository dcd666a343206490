"""Loading of the server extension."""

from __future__ import annotations

from typing import Any


def load(server: Any) -> None:
    pass
