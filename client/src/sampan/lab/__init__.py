"""What Sampan adds to the Jupyter server: activity, the session's keys, dashboards, Dask's sidebar."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "sampan.lab"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Set up everything above. Does nothing on a server that is no job of Sampan's."""
    from sampan.lab.extension import load

    load(server)
