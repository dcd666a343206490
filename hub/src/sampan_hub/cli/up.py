"""`sampan up`: serve until told to end."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import click

from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.arrange import arrange
from sampan_hub.cli.supervise.http import NotAnswering
from sampan_hub.cli.supervise.jobs import JobsClient, count_busy_kernels
from sampan_hub.cli.supervise.known import check_people
from sampan_hub.cli.supervise.links import make_own_address
from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.prepare import CannotStart, prepared, take_lock
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.cli.supervise.supervisor import Supervisor
from sampan_hub.settings.findings import SettingsError
from sampan_hub.trust.entry import authority_files

JOBS_STOP_S = 10.0


@click.command()
@click.pass_obj
def up(config: Path | None) -> None:
    """Serve: run proxy, hub and service, and keep them running until Ctrl-C."""
    try:
        site = load_site(config)
        if site.settings.layout is not None:
            raise CannotStart("With a `layout` nothing runs all: containers run `sampan run NAME`, each its own.")
        with prepared(site):
            lock = take_lock(site)
        if lock is None:
            _say_already_running(site)
            return
        check_people(site)
        code = _serve(site)
    except SettingsError as error:
        raise console.Failure(str(error)) from error
    except CannotStart as error:
        raise console.Failure(str(error)) from error
    sys.stdout.flush()
    os._exit(code)  # threads that still wait for an answer must not hold the terminal


def _say_already_running(site: Site) -> None:
    console.say("already running")
    console.say_link(make_own_address(site))


def _serve(site: Site) -> int:
    console.warn_of_policy(site)
    with prepared(site):
        ports, commands = arrange(site)
    if site.settings.tls == "own":
        console.say(f"browsers know this site once they know {authority_files(site.paths).certificate}")
    supervisor = Supervisor(site, ports, list(commands.values()), console.say)
    return asyncio.run(
        supervisor.run(
            announce=lambda: console.say_link(make_own_address(site)),
            stop_jobs=lambda is_given_up: _stop_jobs(site, ports, is_given_up),
        )
    )


def _stop_jobs(site: Site, ports: Ports, is_given_up: Callable[[], bool]) -> None:
    """A laptop's Ctrl-C: says what is lost, asks all jobs to stop, says which did not in time."""
    client = JobsClient(site, ports)
    try:
        jobs, _ = client.list_unended()
        if not jobs:
            return
        console.say(_describe(jobs, count_busy_kernels(site, jobs)) + "; stopping (Ctrl-C again: at once)")
        left = client.stop_all(JOBS_STOP_S, "sampan up was ended", is_given_up, console.say)
    except NotAnswering as error:
        console.say(f"jobs could not be stopped ({error}); `sampan down --jobs` does it later")
        return
    if left:
        console.say(f"{len(left)} jobs have not ended yet; `sampan down --jobs` ends them")


def _describe(jobs: list[dict[str, object]], busy: int | None) -> str:
    notebooks = sum(job["kind"] == "notebook" for job in jobs)
    kernels = "kernels not counted" if busy is None else f"{busy} busy kernel{'' if busy == 1 else 's'}"
    return (
        f"ending: {notebooks} notebook{'' if notebooks == 1 else 's'} ({kernels}), {len(jobs) - notebooks} other jobs"
    )
