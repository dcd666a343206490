"""Fills in what the settings leave open, from the machine. Pure."""

from __future__ import annotations

from pathlib import Path

from sampan_hub.settings.address import AddressError, bind_endpoint
from sampan_hub.settings.kubernetes import KubernetesBackend
from sampan_hub.settings.machine import Machine
from sampan_hub.settings.model import BackendSettings, Environment, LocalBackend, Login, Settings, Size

GIB = 1 << 30
MIB = 1 << 20
JOBS_THAT_FIT = 5
"""A notebook and four workers of the default size fit on any machine of 2 cores and 4 GiB, and on all larger."""
_SMALL_AT_MOST_BYTES = 2 * GIB
_SMALL_AT_LEAST_BYTES = 256 * MIB
_MEMORY_STEP_BYTES = 64 * MIB


def complete(settings: Settings, machine: Machine) -> Settings:
    """The settings with every default that depends on the machine or on other keys filled in. Idempotent."""
    backends: dict[str, BackendSettings] = {
        name: _complete_local(backend, settings.profile, machine) if isinstance(backend, LocalBackend) else backend
        for name, backend in settings.backends.items()
    }
    local = next((backend for backend in backends.values() if isinstance(backend, LocalBackend)), None)
    sizes = settings.sizes or default_sizes(local or _complete_local(LocalBackend(), settings.profile, machine))
    environments = settings.environments or {"default": _default_environment(settings, machine)}
    changes = {
        "backends": backends,
        "sizes": sizes,
        "default_size": settings.default_size or next(iter(sizes)),
        "environments": environments,
        "default_environment": settings.default_environment or next(iter(environments)),
        "login": _login(settings),
        "state_dir": Path.cwd() / settings.state_dir,
    }
    return settings.model_copy(update=changes)


def reserved_memory_bytes(machine_memory_bytes: int) -> int:
    """What jobs do not get: room for the system and Sampan's own processes (about 400 MiB of it)."""
    return min(4 * GIB, max(768 * MIB, machine_memory_bytes // 8))


def default_sizes(backend: LocalBackend) -> dict[str, Size]:
    """`small`, and `medium` and `large` where the machine has the cores and half as much memory again."""
    cores, memory, overcommit = backend.cores or 1.0, backend.memory or 0, backend.overcommit or 1.0
    share = memory // JOBS_THAT_FIT // _MEMORY_STEP_BYTES * _MEMORY_STEP_BYTES
    small_bytes = max(_SMALL_AT_LEAST_BYTES, min(_SMALL_AT_MOST_BYTES, share))
    small_tenths = max(1, min(10, int(cores * overcommit * 10) // JOBS_THAT_FIT))
    sizes = {"small": Size(cores=small_tenths / 10, memory=small_bytes)}
    for name, factor in (("medium", 2), ("large", 4)):
        if factor <= cores and factor * small_bytes * 3 <= memory * 2:
            sizes[name] = Size(cores=float(factor), memory=factor * small_bytes)
    return sizes


def _default_environment(settings: Settings, machine: Machine) -> Environment:
    """Beside the hub's own; where all jobs are pods, the one in their image."""
    are_pods = all(isinstance(backend, KubernetesBackend) for backend in settings.backends.values())
    return Environment() if are_pods else Environment(prefix=machine.prefix / "user")


def _complete_local(backend: LocalBackend, profile: str, machine: Machine) -> LocalBackend:
    free_bytes = machine.memory_bytes - reserved_memory_bytes(machine.memory_bytes)
    free_bytes = max(_SMALL_AT_LEAST_BYTES, free_bytes // MIB * MIB)
    changes = {
        "cores": backend.cores or machine.cores_milli / 1000,
        "memory": backend.memory or free_bytes,
        "overcommit": backend.overcommit or (4.0 if profile == "laptop" else 1.0),
    }
    return backend.model_copy(update=changes)


def _login(settings: Settings) -> Login | None:
    if settings.login is not None:
        return settings.login
    try:
        return "links" if bind_endpoint(settings).is_loopback else None
    except AddressError:
        return None
