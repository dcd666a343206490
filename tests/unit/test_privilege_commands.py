"""The command lines that are run, what is read out of the answers, and the sudo rule."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sampan_hub.privilege import commands
from sampan_hub.privilege.account import Account
from sampan_hub.privilege.errors import RunAsError
from sampan_hub.privilege.outcomes import (
    Done,
    check_cancelled,
    choose_to_cancel,
    read_found,
    read_open,
    read_submitted,
)
from sampan_hub.privilege.policy import Policy
from sampan_hub.privilege.sudo import render_sudo_rule
from tests.support.slurm_requests import NAME, make_options

ANA = Account("ana", 2001, 2001, "/home/ana", "/bin/bash")
ROOT = "/home/ana/.sampan/jobs"
FOLDER = f"{ROOT}/{NAME}.0"
SUBMISSION = "sbatch: error: Batch job submission failed: "
FIXED = [
    "/usr/bin/sbatch", "--parsable", "--no-requeue", "--export=ALL", "--propagate=NONE", "--open-mode=append",
    f"--chdir={FOLDER}",
]  # fmt: skip


def test_a_plain_job_names_nothing_it_was_not_asked_to() -> None:
    assert commands.make_submit_argv(Policy(), FOLDER, make_options()) == [
        *FIXED, f"--output={FOLDER}/job.log", f"--job-name={NAME}", "--comment=sampan1.e30.mac",
        "--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--mem=1024M",
    ]  # fmt: skip


def test_an_array_with_everything() -> None:
    options = make_options(
        partition="gpu,long", account="chem", qos="high", reservation="course", constraint="a100&ib",
        gres="gpu:a100:2",
        cpus=4, gpus=2, minutes=90, tasks=(0, 3), directives=("--exclusive", "--licenses=x:1"),
    )  # fmt: skip
    assert commands.make_submit_argv(Policy(sbatch="/opt/slurm/bin/sbatch"), FOLDER, options) == [
        "/opt/slurm/bin/sbatch", *FIXED[1:], f"--output={FOLDER}/%a.log", f"--job-name={NAME}",
        "--comment=sampan1.e30.mac", "--nodes=1", "--ntasks=1", "--cpus-per-task=4", "--mem=1024M",
        "--partition=gpu,long", "--account=chem", "--qos=high", "--reservation=course", "--constraint=a100&ib",
        "--gres=gpu:a100:2", "--time=90", "--array=0-3", "--exclusive", "--licenses=x:1",
    ]  # fmt: skip


def test_gpus_are_asked_for_by_number_where_nothing_says_how() -> None:
    assert "--gres=gpu:2" in commands.make_submit_argv(Policy(), FOLDER, make_options(gpus=2))


def test_the_environment_is_six_variables_and_slurms_settings() -> None:
    plain = commands.make_environment(Policy(), ANA._replace(shell=""))
    assert plain == {
        "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/home/ana", "USER": "ana", "LOGNAME": "ana",
        "SHELL": "/bin/sh", "LANG": "C.UTF-8",
    }  # fmt: skip
    named = commands.make_environment(Policy(slurm_conf="/etc/slurm/slurm.conf"), ANA)
    assert named == plain | {"SHELL": "/bin/bash", "SLURM_CONF": "/etc/slurm/slurm.conf"}


def test_the_script_is_two_lines_with_full_paths() -> None:
    script = commands.make_script("/shared/env/bin/python", FOLDER)
    assert script == f"#!/bin/sh\nexec /shared/env/bin/python -I -S {FOLDER}/start.py\n".encode()


@pytest.mark.parametrize("said", ["123\n", "123;cluster\n", "some plugin said hello\n123\n"])
def test_the_id_is_what_sbatch_says_last(said: str) -> None:
    assert read_submitted(Done(0, said, "sbatch: a word of the site\n")) == 123


@pytest.mark.parametrize(
    "said", ["", "\n", "0\n", "-1\n", "1 2\n", "Submitted batch job 123\n", "99999999999\n", "1;\n"]
)
def test_an_id_is_never_guessed(said: str) -> None:
    with pytest.raises(RunAsError) as failed:
        read_submitted(Done(0, said, ""))
    assert failed.value.code == "failed"


FAILURES = [
    ("refused", SUBMISSION + "Invalid qos specification", "Slurm refused the job: Invalid qos specification."),
    (
        "refused",
        "sbatch: error: Please name a project.\n" + SUBMISSION + "Unspecified error",
        "Slurm refused the job: Please name a project; Unspecified error.",
    ),
    (
        "refused",
        SUBMISSION + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "Slurm refused the job: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits).",
    ),
    ("refused", "sbatch: unrecognized option '--prefer=x'\nTry \"sbatch --help\" for more information", "--prefer=x"),
    ("refused", "sbatch: error: Invalid --tmp value specified\n", "Invalid --tmp value"),
    ("refused", "sbatch: error: Invalid generic resource (gres) specification", "Invalid generic resource"),
    ("unreachable", SUBMISSION + "Unable to contact slurm controller (connect failure)", "does not answer"),
    ("unreachable", SUBMISSION + "Socket timed out on send/recv operation", "does not answer"),
    ("unreachable", SUBMISSION + "Zero Bytes were transmitted or received", "does not answer"),
    ("unreachable", SUBMISSION + "Slurm backup controller in standby mode", "does not answer"),
    ("unreachable", SUBMISSION + "Resource temporarily unavailable", "does not answer"),
    ("unreachable", "sbatch: fatal: Could not establish a configuration source", "does not answer"),
    ("failed", SUBMISSION + "Protocol authentication error", "sbatch failed with code 1"),
    ("failed", SUBMISSION + "I/O error writing script/environment to file", "I/O error"),
    ("failed", "sbatch: error: Couldn't find the specified plugin name for auth/munge", "auth/munge"),
    ("failed", "", "gave no reason"),
    ("refused", SUBMISSION + "a\x1b[31m\tb" + "x" * 9000, "a [31m b"),
]


@pytest.mark.parametrize(("code", "errors", "text"), FAILURES)
def test_a_refusal_is_told_from_no_answer_and_from_a_broken_site(code: str, errors: str, text: str) -> None:
    with pytest.raises(RunAsError) as failed:
        read_submitted(Done(1, "", errors + "\n"))
    assert failed.value.code == code
    assert text in failed.value.text
    assert len(failed.value.text) < 600
    assert failed.value.text.isprintable()


def test_only_the_stages_own_job_is_taken_for_it() -> None:
    said = f"99|{FOLDER}0\n120|{FOLDER}\n100_[0-3]|{FOLDER}\n98|/elsewhere|{FOLDER}\n97|\n"
    assert read_found("sacct", Done(0, said, ""), FOLDER) == 100
    assert read_found("squeue", Done(0, "", ""), FOLDER) is None


@pytest.mark.parametrize("said", ["x|/y\n", "123\n", "\n", "|/y\n", "slurm_load_jobs error\n"])
def test_a_listing_that_is_not_understood_proves_nothing(said: str) -> None:
    with pytest.raises(RunAsError, match="not understood"):
        read_found("squeue", Done(0, said, ""), FOLDER)
    with pytest.raises(RunAsError, match="not understood"):
        read_open(Done(0, said, ""), "sampan.", ROOT)
    for read in (lambda done: read_found("squeue", done, FOLDER), lambda done: read_open(done, "sampan.", ROOT)):
        with pytest.raises(RunAsError) as failed:
            read(Done(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"))
        assert failed.value.code == "unreachable"


def test_open_jobs_are_those_of_the_prefix() -> None:
    said = f"1|N/A|/|{NAME}\n2|0|/|{NAME}\n2|17|/|{NAME}\n3|N/A|/|mine\n4|N/A|/|x{NAME}\n5|N/A||\n"
    assert read_open(Done(0, said, ""), NAME[:16], ROOT) == {"1", "2_0", "2_17"}


def test_open_jobs_of_ours_cannot_be_hidden() -> None:
    """Neither by another name, nor behind a job whose name has several lines."""
    said = f"6|N/A|{FOLDER}|mine\n7|N/A|/elsewhere{FOLDER}|mine\n8|N/A|/|a\nb|\n\n9|3|{FOLDER}|{NAME}\n"
    assert read_open(Done(0, said, ""), NAME[:16], ROOT) == {"6", "9_3"}


@pytest.mark.parametrize(
    ("asked", "still_open", "told"),
    [
        ([], {"1"}, []),
        (["1", "9"], {"1", "2"}, ["1"]),
        (["2_0"], {"2_0", "2_1"}, ["2_0"]),
        (["2_0", "2_1", "2_7"], {"2_0", "2_1", "3_0"}, ["2"]),
        (["2"], {"2_0", "2_1", "21"}, ["2"]),
        (["1_0"], {"1"}, []),
        (["1", "2_0"], {"1", "2_0", "2_1", "3_0"}, ["1", "2_0"]),
    ],
)
def test_exactly_what_is_asked_for_and_open_is_cancelled(
    asked: list[str], still_open: set[str], told: list[str]
) -> None:
    assert choose_to_cancel(asked, still_open) == told


def test_a_job_that_ended_meanwhile_is_no_failure_of_scancel() -> None:
    check_cancelled(Done(0, "", ""))
    check_cancelled(Done(1, "", "scancel: error: Kill job error on job id 7: Invalid job id specified\n"))
    gone = "scancel: error: Kill job error on job id 7_1: Job/step already completing or completed\n"
    check_cancelled(Done(1, "", gone))
    for errors in ("", gone + "scancel: error: Kill job error on job id 8: Access/permission denied\n"):
        with pytest.raises(RunAsError, match="scancel failed"):
            check_cancelled(Done(1, "", errors))
    with pytest.raises(RunAsError, match="does not answer"):
        check_cancelled(
            Done(1, "", "scancel: error: Kill job error on job id 7: Socket timed out on send/recv operation\n")
        )


def test_sudo_takes_the_rule(tmp_path: Path) -> None:
    rule = render_sudo_rule("sampan", "/opt/sampan/bin/sampan-run-as")
    file = tmp_path / "sampan"
    file.write_text(rule)
    file.chmod(0o440)
    done = subprocess.run(["/usr/sbin/visudo", "-c", "-s", "-f", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    allowed = [line for line in rule.splitlines() if "NOPASSWD" in line]
    assert allowed == ["sampan ALL=(root) NOPASSWD: SAMPAN_RUN_AS"]
    for mark in "*?[]!":
        assert mark not in rule.partition("Defaults")[0]


@pytest.mark.parametrize(
    ("user", "path"),
    [
        ("sampan", "sampan-run-as"), ("sampan", "/opt/a b"), ("sampan", "/opt/*"), ("sampan", "/opt/../x"),
        ("sampan", "/a,/b"),
        ("ALL=(ALL) NOPASSWD: ALL\nx", "/opt/x"), ("%wheel", "/opt/x"), ("", "/opt/x"), ("sampan",
        "/opt/x\n"), ("a b", "/opt/x"),
    ],
)  # fmt: skip
def test_no_rule_for_what_sudo_might_read_otherwise(user: str, path: str) -> None:
    with pytest.raises(ValueError, match="no sudo rule"):
        render_sudo_rule(user, path)
