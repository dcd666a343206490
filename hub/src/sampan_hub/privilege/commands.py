"""Every command line that is ever run, the environment of it, and the job script. Pure."""

from __future__ import annotations

from sampan_hub.privilege.account import Account
from sampan_hub.privilege.policy import Policy
from sampan_hub.privilege.requests import START_FILE, Options

PATH = "/usr/local/bin:/usr/bin:/bin"
PLAIN_LOG = "job.log"
ARRAY_LOG = "%a.log"


def make_environment(policy: Policy, account: Account) -> dict[str, str]:
    """All that Slurm's programs, and through them the job, get of an environment."""
    environment = {
        "PATH": PATH,
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": account.shell or "/bin/sh",
        "LANG": "C.UTF-8",
    }
    return environment | ({"SLURM_CONF": policy.slurm_conf} if policy.slurm_conf else {})


def make_script(python: str, folder: str) -> bytes:
    """The job script: the same for every job but for two paths, whose form admits nothing that a shell would read.

    The folder is named, because a node that cannot enter it starts jobs in /tmp, where others could leave files.
    """
    return f"#!/bin/sh\nexec {python} -I -S {folder}/{START_FILE}\n".encode()


def _placement(options: Options) -> list[str]:
    gres = options.gres or (f"gpu:{options.gpus}" if options.gpus else None)
    named = {
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "reservation": options.reservation,
        "constraint": options.constraint,
        "gres": gres,
        "time": options.minutes,
        "array": "{}-{}".format(*options.tasks) if options.tasks else None,
    }
    return [f"--{option}={value}" for option, value in named.items() if value is not None]


def make_submit_argv(policy: Policy, folder: str, options: Options) -> list[str]:
    """sbatch for the stage at `folder`; the script goes to its standard input.

    Limits of this process are not the job's (`--propagate=NONE`), and Slurm never starts it a second time.
    """
    return [
        policy.sbatch,
        "--parsable",
        "--no-requeue",
        "--export=ALL",
        "--propagate=NONE",
        "--open-mode=append",
        f"--chdir={folder}",
        f"--output={folder}/{ARRAY_LOG if options.tasks else PLAIN_LOG}",
        f"--job-name={options.name}",
        f"--comment={options.comment}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={options.cpus}",
        f"--mem={options.memory_mb}M",
        *_placement(options),
        *options.directives,
    ]


def make_find_argv(policy: Policy, name: str) -> list[str]:
    """squeue for the user's jobs of that name, in any state: base id and folder."""
    return [policy.squeue, "--me", "--all", "--noheader", "--states=all", f"--name={name}", "--format=%F|%Z"]


def make_find_ended_argv(policy: Policy, name: str, since: str) -> list[str]:
    """sacct for the same, among jobs that the controller has forgotten."""
    return [
        policy.sacct,
        "--allocations",
        "--noheader",
        "--parsable2",
        f"--name={name}",
        f"--starttime={since}",
        "--format=JobID,WorkDir",
    ]


def make_open_argv(policy: Policy) -> list[str]:
    """squeue for all open jobs of the user, each array task for itself: base id, task, folder, name."""
    return [policy.squeue, "--me", "--all", "--noheader", "--array", "--format=%F|%K|%Z|%j"]


def make_cancel_argv(policy: Policy, slurm_jobs: list[str]) -> list[str]:
    """scancel of exactly these jobs and tasks."""
    return [policy.scancel, *slurm_jobs]
