"""Where traffic crosses hosts, and what Sampan refuses there: nothing of it may go unencrypted. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from sampan_hub.settings.address import AddressError, parse_url
from sampan_hub.settings.findings import Finding, KeyPath, made
from sampan_hub.settings.kubernetes import KubernetesBackend
from sampan_hub.settings.model import Settings
from sampan_hub.settings.slurm import SlurmBackend

ENTRY_SERVICE = "proxy-public"
"""What the cluster calls the entry: the chart's Kubernetes Service."""


def crosses_hosts(settings: Settings) -> bool:
    """Whether jobs of any backend come in from other machines."""
    return any(parse_url(url)[0] == "https" for url in jobs_urls(settings).values())


def jobs_urls(settings: Settings) -> dict[str, str]:
    """Under which URL jobs come in, for each backend whose jobs may run on other machines."""
    return {
        name: backend.reach or _usual_reach(settings, backend)
        for name, backend in settings.backends.items()
        if isinstance(backend, SlurmBackend | KubernetesBackend)
    }


def _usual_reach(settings: Settings, backend: SlurmBackend | KubernetesBackend) -> str:
    """As people do; pods by the cluster's own name for the entry."""
    if isinstance(backend, SlurmBackend):
        return settings.url
    return f"https://{ENTRY_SERVICE}{parse_url(settings.url)[2]}"


def crossing_refusals(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the way by which jobs on other machines come in."""
    for name, backend in settings.backends.items():
        if isinstance(backend, SlurmBackend | KubernetesBackend):
            yield from _entry(settings, name, backend)


def _entry(settings: Settings, name: str, backend: SlurmBackend | KubernetesBackend) -> Iterator[Finding]:
    path: KeyPath = ("backends", name) if backend.reach is None else ("backends", name, "reach")
    try:
        reach = backend.reach or _usual_reach(settings, backend)
        scheme, endpoint, _ = parse_url(reach)
    except AddressError as error:
        if backend.reach is not None:
            yield made(settings.source, path, str(error))
        return
    if scheme == "http" and not endpoint.is_loopback:
        text = f"its jobs would reach Sampan at {reach}, without encryption"
        remedy = "set `url: https://…` and `tls: own` (or `tls: {certificate, key}`), or `reach: https://…`"
        yield made(settings.source, path, text, remedy=remedy)
    named = backend.reach is not None or isinstance(backend, KubernetesBackend)
    if scheme == "https" and named and settings.tls is None and not settings.behind_proxy:
        text = "is https, but nothing here speaks TLS" if backend.reach else f"{reach} is https, but nothing speaks TLS"
        yield made(settings.source, path, text, remedy="set `tls` or `behind_proxy`")
