"""Ending what an earlier `sampan up` started, whether or not that still runs."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

from sampan_hub.cli.supervise import console
from sampan_hub.cli.supervise.arrange import NAMES
from sampan_hub.cli.supervise.commands import make_commands, make_environment
from sampan_hub.cli.supervise.http import NotAnswering, call
from sampan_hub.cli.supervise.jobs import JobsClient
from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.prepare import find_proxy
from sampan_hub.cli.supervise.processes import find_running, is_running, start
from sampan_hub.cli.supervise.site import Site
from sampan_hub.cli.supervise.units import end_units

UP = "up"
UP_PATIENCE_S = 25.0
PATIENCE_S = 8.0
SERVICE_START_S = 30.0
JOBS_STOP_S = 60.0


class JobsLeft(Exception):
    """Jobs that were asked to end and have not: how many, and what to do."""


async def end_processes(site: Site) -> list[str]:
    """`sampan up` and its processes have ended; which of them there were. Raises KeptElsewhere."""
    run = site.paths.run
    names = [name for name in (*NAMES, UP) if is_running(run, name)]
    await asyncio.to_thread(end_units, run)
    supervisor = find_running(run, UP)
    if supervisor is not None:
        process, _ = supervisor
        process.send(signal.SIGUSR1)
        try:
            await asyncio.wait_for(process.ended.wait(), UP_PATIENCE_S)
        except TimeoutError:
            await process.stop(0)
    left = [found[0] for name in NAMES if (found := find_running(run, name)) is not None]
    await asyncio.gather(*(process.stop(PATIENCE_S) for process in left))
    return names


async def start_service_alone(site: Site, ports: Ports) -> None:
    """The service answers, started for this purpose if nothing keeps it: it alone can stop jobs truthfully."""
    run = site.paths.run
    if find_running(run, UP) is None and not is_running(run, "service"):
        node, script = find_proxy()
        service = make_commands(site, ports, node, script, "")[2]
        start(site.paths, service.name, "down", service.argv, make_environment(os.environ, site, service))
    deadline_s = time.monotonic() + SERVICE_START_S
    while not await asyncio.to_thread(_answers, site, ports):
        if time.monotonic() > deadline_s:
            raise JobsLeft(f"The service does not answer, so no job was ended: see {site.paths.log / 'service.log'}.")
        await asyncio.sleep(0.1)


def _answers(site: Site, ports: Ports) -> bool:
    try:
        return call("GET", ports.service, f"{site.base_path}services/sampan/healthz", timeout_s=2).is_ok
    except NotAnswering:
        return False


def end_jobs(client: JobsClient) -> None:
    """Lists every job and ends it; raises JobsLeft when some remain."""
    try:
        jobs, _ = client.list_unended()
        for job in jobs:
            console.say(describe_job(job))
        left = client.stop_all(JOBS_STOP_S, "sampan down --jobs", lambda: False, console.say)
    except NotAnswering as error:
        raise JobsLeft(f"Jobs could not be ended ({error}): run `sampan down --jobs` again.") from error
    if left:
        raise JobsLeft(f"{len(left)} jobs have not ended after {JOBS_STOP_S:.0f} s: run `sampan down --jobs` again.")


def describe_job(job: dict[str, Any]) -> str:
    """One line about a job: what, whose, in which state."""
    return f"{job['kind']:<9} {job['owner']:<16} {job['name'] or '-':<24} {job['state']:<10} {job['id']}"
