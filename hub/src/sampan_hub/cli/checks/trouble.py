"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong, and what to do about it: both sentences for whoever runs the installation."""

    text: str
    remedy: str
    is_mild: bool = False
    """Sampan works, but not as well or as safely as it could."""
