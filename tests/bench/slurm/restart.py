"""The service is killed under 40 notebooks and 100 workers, one of which ends meanwhile: until all is true again."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from threading import Thread

from sampan_hub.backends.slurm.names import parse_job_name
from tests.bench.row import Aim, Line, Recorder, Row
from tests.bench.slurm.bed import API, Bed
from tests.bench.slurm.mock_jobs import START_TIMEOUT_S, MockCluster, ensure_notebooks
from tests.support.installation import wait_until

MEASURE = "service kill -9, 40 notebooks + 100 workers"
NOTEBOOKS, WORKERS = 40, 100
PROBE_S = 0.02
AT_MOST_S = 120.0


async def measure(bed: Bed, repeat: int) -> Row:
    """From the start of the next service, as systemd starts it at once; asked through the proxy."""
    recorder = Recorder()
    ensure_notebooks(bed, NOTEBOOKS)
    cluster = MockCluster(bed)
    ids = cluster.submit(WORKERS)
    wait_until(lambda: cluster.states()["running"] == WORKERS, START_TIMEOUT_S, "the mock workers")
    for number in range(repeat):
        expected = {job["id"]: job["state"] for job in bed.site.jobs() if job["state"] != "ended"}
        bed.site.end("service", signal.SIGKILL)
        end_in_slurm(bed, ids[number])
        expected[ids[number]] = "ended"
        answers_s, true_s = restart(bed, expected)
        recorder.add("answers", answers_s)
        recorder.add("true", true_s)
    cluster.stop(ids)
    return Row(
        "restart",
        [
            Line(f"{MEASURE}: API answers", "s", recorder.sample("answers")),
            Line(f"{MEASURE}: true again", "s", recorder.sample("true"), aim=Aim(2)),
        ],
    )


def end_in_slurm(bed: Bed, job_id: str) -> None:
    """Cancel the job as an administrator does, and wait until Slurm says so."""
    found = {own_id(line): line.split()[0] for line in bed.cluster.ask("squeue", "-arh", "-o", "%i %j").splitlines()}
    bed.cluster.ask("scancel", found[job_id])
    wait_until(lambda: not bed.cluster.ask("squeue", "-ah", "-j", found[job_id]).strip(), 30, "the job's end")


def own_id(line: str) -> str | None:
    """The job that a line of squeue is, when it is one of ours."""
    slurm_id, name = line.split()
    read, task = parse_job_name(name), slurm_id.partition("_")[2]
    return None if read is None else read.job_id(int(task) if task else None)


def restart(bed: Bed, expected: Mapping[str, str]) -> tuple[float, float]:
    """Seconds until the API answers, and until it says that of every job."""
    answers_s = 0.0
    starting = Thread(target=bed.site.start, args=("service",))
    begun_s = time.monotonic()
    starting.start()
    while (passed_s := time.monotonic() - begun_s) < AT_MOST_S:
        states = ask_states(bed)
        if states is not None:
            answers_s = answers_s or time.monotonic() - begun_s
            if all(states.get(job_id) == state for job_id, state in expected.items()):
                true_s = time.monotonic() - begun_s
                starting.join()
                return answers_s, true_s
        time.sleep(PROBE_S)
    raise AssertionError(f"after {passed_s:.0f} s not all is true")


def ask_states(bed: Bed) -> dict[str, str] | None:
    """Of every job, unless what runs is in doubt; None while the service does not answer."""
    headers = {"Authorization": f"Bearer {bed.credential('cli', 'admin')}"}
    try:
        status, answer = bed.site.ask("GET", f"{API}/jobs", None, headers)
    except OSError:
        return None
    if status != 200:
        return None
    return {job["id"]: "unknown" if job["unknown_since"] else job["state"] for job in answer["jobs"]}
