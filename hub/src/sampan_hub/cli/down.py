"""`sampan down`: end our processes; with `--jobs` first everything that computes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.ending import JobsLeft, end_jobs, end_processes, start_service_alone
from sampan_hub.cli.supervise.http import NotAnswering
from sampan_hub.cli.supervise.jobs import JobsClient
from sampan_hub.cli.supervise.ports import Ports, read_ports
from sampan_hub.cli.supervise.prepare import CannotStart
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.cli.supervise.units import KeptElsewhere
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.keyfiles import KeyFileError


@click.command()
@click.option("--jobs", "with_jobs", is_flag=True, help="End notebooks and workers too; they are listed first.")
@click.pass_obj
def down(config: Path | None, with_jobs: bool) -> None:
    """End proxy, hub and service. Jobs run on, and the next `sampan up` finds them; --jobs ends them too.

    Processes in containers are their cluster's to end: there it is for the jobs alone.
    """
    try:
        site = load_site(config)
        ports = read_ports(site.ports_file)
        if ports is None:
            console.say(f"nothing runs here: {site.paths.root} has never served")
            return
        if site.settings.layout is not None:
            _down_apart(site, ports, with_jobs)
            return
        asyncio.run(_down(site, ports, with_jobs))
    except (SettingsError, CannotStart, KeyFileError, JobsLeft, KeptElsewhere) as error:
        raise console.Failure(str(error)) from error


async def _down(site: Site, ports: Ports, with_jobs: bool) -> None:
    if with_jobs:
        await start_service_alone(site, ports)
        await asyncio.to_thread(end_jobs, JobsClient(site, ports))
    else:
        await asyncio.to_thread(_say_what_runs_on, site, ports)
    ended = await end_processes(site)
    console.say(f"ended: {', '.join(ended)}" if ended else "nothing was running")


def _down_apart(site: Site, ports: Ports, with_jobs: bool) -> None:
    if not with_jobs:
        raise CannotStart("With a `layout` the cluster keeps the processes: `sampan down --jobs` ends the jobs alone.")
    end_jobs(JobsClient(site, ports))
    console.say("all jobs have ended; the processes run on")


def _say_what_runs_on(site: Site, ports: Ports) -> None:
    try:
        jobs, _ = JobsClient(site, ports).list_unended()
    except NotAnswering:
        return
    if jobs:
        console.say(f"{len(jobs)} jobs run on (`sampan down --jobs` ends them)")
