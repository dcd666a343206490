"""The Slurm backends of an installation: what is wrong with each, and with `--probe` what its nodes say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.metadata import version as installed_version

from sampan_hub.backends.slurm.placement import make_placement
from sampan_hub.backends.slurm.submitting import make_acting
from sampan_hub.cli.checks.probe.findings import judge_probe
from sampan_hub.cli.checks.probe.sending import Order, send
from sampan_hub.cli.checks.slurm_facts import ask, collect
from sampan_hub.cli.checks.slurm_findings import judge
from sampan_hub.cli.checks.slurm_sizes import judge_sizes
from sampan_hub.cli.checks.trouble import Trouble
from sampan_hub.cli.supervise.site import Site
from sampan_hub.jobs.model import Resources
from sampan_hub.settings.keyfiles import KeyFileError
from sampan_hub.settings.slurm import SlurmBackend
from sampan_hub.trust.entry import read_entry_bundle

PACKAGES = ("sampan", "jupyterlab", "distributed")


def check_slurm(site: Site, probe_as: str | None) -> Iterator[Trouble]:
    """Findings of every Slurm backend, each with the backend's name before it."""
    for name, backend in site.settings.backends.items():
        if not isinstance(backend, SlurmBackend):
            continue
        facts = collect(backend)
        found = [*judge(backend, facts), *judge_sizes(backend, site.settings.sizes, facts)]
        if probe_as is not None and facts.config and not facts.refused_verbs:
            found += _probe(site, backend, probe_as if backend.submit_as == "themselves" else facts.me)
        for trouble in found:
            yield Trouble(f"{name}: {trouble.text}", trouble.remedy, trouble.is_mild)


def _probe(site: Site, backend: SlurmBackend, user: str) -> list[Trouble]:
    settings = site.settings
    size_name = settings.default_size or next(iter(settings.sizes))
    size = settings.sizes[size_name]
    placement = make_placement(backend, size_name, "", Resources(size.cores_milli, size.memory, size.gpus))
    prefix = settings.environments[settings.default_environment or next(iter(settings.environments))].prefix
    url = f"{(backend.reach or settings.url).rstrip('/')}/services/sampan"
    try:
        bundle = read_entry_bundle(settings, site.paths) if url.startswith("https:") else ""
    except KeyFileError as error:
        return [Trouble(f"nodes were not looked at: {error}", "start Sampan once, then check again")]
    fields = ("partition", "account", "qos", "reservation", "constraint", "directives")
    order = Order(
        user=user,
        python=str(prefix / "bin" / "python"),
        squeue=str(backend.commands / "squeue"),
        placed={field: getattr(placement, field) for field in fields},
        told={
            "url": url,
            "ca": bundle,
            "packages": PACKAGES,
            "network": backend.network,
            "ports": [backend.ports.first, backend.ports.last],
        },
    )
    outcome = asyncio.run(send(order, make_acting(backend), ask))
    return list(judge_probe(order, outcome, installed_version("sampan-hub")))
