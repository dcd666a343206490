"""Where jobs are pods: what they do not see of people's files, which works and is not what most expect."""

from __future__ import annotations

from collections.abc import Iterator

from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.settings.kubernetes import KubernetesBackend
from sampan_hub.settings.model import Settings

ONE_NODE = "ReadWriteOnce"


def check_storage(settings: Settings) -> Iterator[Trouble]:
    """Homes that one node holds are seen by notebooks alone."""
    for name, backend in settings.backends.items():
        if isinstance(backend, KubernetesBackend) and backend.storage.home.access == ONE_NODE:
            text = f"workers on {name} do not see homes: one node alone can hold such a volume ({ONE_NODE})"
            wanted = f"set `backends.{name}.storage.home.access: ReadWriteMany` and a `class` that can"
            yield Trouble(text, f"{wanted}; as it is, workers have /scratch", is_mild=True)
