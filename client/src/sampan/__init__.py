"""Dask with one line: `from sampan import Cluster`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.errors import (
    ClusterFailed,
    ClusterNotFound,
    EnvironmentDiffers,
    NotAccepted,
    Refused,
    SampanError,
    ServiceUnavailable,
    WorkerWarning,
)

if TYPE_CHECKING:
    from sampan.cluster import Cluster

__version__ = "0.1.0"

__all__ = [
    "Cluster",
    "ClusterFailed",
    "ClusterNotFound",
    "EnvironmentDiffers",
    "NotAccepted",
    "Refused",
    "SampanError",
    "ServiceUnavailable",
    "WorkerWarning",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import Dask only when a cluster is wanted: jobs import this package before they import anything else."""
    if name == "Cluster":
        from sampan.cluster import Cluster

        return Cluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
