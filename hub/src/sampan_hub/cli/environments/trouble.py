"""Why an environment cannot be built."""

from __future__ import annotations


class CannotBuild(Exception):
    """What is in the way, and what to do about it. The environment that was there is as it was."""
