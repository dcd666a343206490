"""The service on a backend with walltimes, and a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support import timed_service
from tests.system.cluster_site import ClusterSite


class TimedSite(ClusterSite):
    """`walltimes_s`: how long jobs live, by kind; others live for ever."""

    walltimes_s: Mapping[str, float]

    def serve_argv(self) -> list[str]:
        limits = [f"{kind}={walltime_s}" for kind, walltime_s in self.walltimes_s.items()]
        return [sys.executable, timed_service.__file__, str(self.port), str(self.settings), *limits]


@contextmanager
def timed_site(
    folder: Path, walltimes_s: Mapping[str, float], more: str = "", *, cores: int = 8
) -> Iterator[TimedSite]:
    """A running one, of `cores` cores that are given out once; ended afterwards."""
    site = TimedSite(folder, more)
    site.walltimes_s = walltimes_s
    site.settings.write_text(site.settings.read_text().replace("cores: 8", f"cores: {cores}, overcommit: 1"))
    with site.hub:
        try:
            site.start()
            site.open_notebook()
            yield site
        finally:
            site.stop()
