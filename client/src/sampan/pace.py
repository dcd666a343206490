"""How often Dask's processes look at themselves when nothing happens.

Each of Dask's own periods is short for the sake of its pages. Together they cost an idle scheduler and worker 5 % of a
core, and forty idle clusters two whole ones; with these it is less than a third of that.
"""

from __future__ import annotations

import dask

PERIODS = {
    "distributed": {
        "admin": {"tick": {"interval": "200ms"}, "system-monitor": {"interval": "1s"}},
        "worker": {"profile": {"interval": "100ms"}},
    }
}


def rest_when_idle() -> None:
    """Make these the defaults of this process; what a person or site set for Dask itself still holds."""
    dask.config.update_defaults(PERIODS)
