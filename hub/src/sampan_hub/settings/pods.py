"""What is wrong with the settings of backends whose jobs are pods. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from sampan_hub.settings.findings import Finding, KeyPath, made
from sampan_hub.settings.kubernetes import KubernetesBackend
from sampan_hub.settings.model import Settings


def pods_refusals(settings: Settings) -> Iterator[Finding]:
    """Values that cannot be meant, and what pods and other machines would need of each other."""
    for name, backend in settings.backends.items():
        if isinstance(backend, KubernetesBackend):
            yield from _values(settings, name, backend)
            yield from _names(settings, name, backend)
    yield from _feeding(settings)
    yield from _prefixes(settings)


def _values(settings: Settings, name: str, backend: KubernetesBackend) -> Iterator[Finding]:
    source, path = settings.source, ("backends", name)
    if backend.ports.first > backend.ports.last:
        yield made(source, (*path, "ports"), "`first` is above `last`", remedy="write for example {first: 31000}")
    for index, network in enumerate(backend.allow):
        if not _is_network(network):
            text = f"expected a network such as 10.20.0.0/16, got {network!r}"
            yield made(source, (*path, "allow", index), text)
    for index, toleration in enumerate(backend.tolerations):
        if toleration.key is None and toleration.operator != "Exists":
            text = "has no `key`, and only `operator: Exists` means every taint"
            yield made(source, (*path, "tolerations", index), text, remedy="name the taint's key")


def _names(settings: Settings, name: str, backend: KubernetesBackend) -> Iterator[Finding]:
    named: list[tuple[KeyPath, str, str, set[str]]] = [
        (("sizes", key), key, "sizes", set(settings.sizes)) for key in backend.sizes
    ]
    if settings.projects:
        shared = backend.storage.projects
        named += [(("storage", "projects", key), key, "projects", set(settings.projects)) for key in shared]
    for path, key, section, known in named:
        if key not in known:
            text = f"{key!r} is not one of `{section}` ({', '.join(sorted(known))})"
            yield made(settings.source, ("backends", name, *path), text)


def _feeding(settings: Settings) -> Iterator[Finding]:
    """Pods have a network of their own: what is outside and a scheduler or worker inside do not reach each other."""
    for name, feeding in settings.backends.items():
        for index, fed in enumerate(feeding.workers_on):
            other = settings.backends.get(fed)
            if other is None or isinstance(other, KubernetesBackend) == isinstance(feeding, KubernetesBackend):
                continue
            text = f"jobs on {name} and on {fed} do not reach each other: pods have a network of their own"
            yield made(settings.source, ("backends", name, "workers_on", index), text, remedy="leave it out")


def _prefixes(settings: Settings) -> Iterator[Finding]:
    others = [name for name, each in settings.backends.items() if not isinstance(each, KubernetesBackend)]
    for name, environment in settings.environments.items():
        if others and "prefix" not in environment.model_fields_set:
            text = f"has no `prefix`, and jobs on {others[0]} have no image to find it in"
            yield made(settings.source, ("environments", name), text, remedy="set `prefix` to a Python environment")


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True
