"""What travels to a node, and the launcher there: run for real, with Slurm's variables around it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sampan_hub.backends.base import JobSpec
from sampan_hub.backends.slurm import start
from sampan_hub.backends.slurm.stage import Unfit, make_batch, make_files, read_launcher
from sampan_hub.privilege import forms
from tests.unit.slurm_rows import make_spec

TELL = """
import json, os, sys
private = os.environ["SAMPAN_JOB_DIR"]
print(json.dumps({
    "argv": sys.argv[1:], "environ": dict(os.environ), "cwd": os.getcwd(),
    "files": {name: open(os.path.join(private, name)).read() for name in os.listdir(private) if name != ".lock"},
    "modes": [oct(os.stat(path).st_mode & 0o777) for path in (private, os.path.join(private, "bootstrap.json"))],
}))
"""
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_CPUS_ON_NODE": "2",
    "CUDA_VISIBLE_DEVICES": "1",
    "SLURM_EXPORT_ENV": "ALL",
    "SBATCH_ACCOUNT": "other",
    "PYTHONPATH": "/somewhere",
    "PATH": "/usr/bin:/bin",
}


def tell(index: int, folder: Path) -> JobSpec:
    spec = make_spec(index)
    env = {**spec.env, "GREETING": "żółw 'and' $HOME\nmore"}
    return replace(spec, argv=(sys.executable, "-c", TELL, spec.job_id, "a b", "$(id)"), env=env, folder=str(folder))


def launch(stage: Path, parent: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """As the job script does, with the folder of private files elsewhere than on a node."""
    code = (
        f"import sys; sys.path.insert(0, {str(stage)!r}); import os, start, pathlib\n"
        f"try: start.main(dict(os.environ), pathlib.Path({str(stage)!r}), pathlib.Path({str(parent)!r}))\n"
        "except start.CannotStart as error: sys.exit(str(error))"
    )
    argv = [sys.executable, "-I", "-S", "-c", code]
    return subprocess.run(argv, env={**SLURM, **variables}, cwd="/", capture_output=True, text=True)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    (tmp_path / "node").mkdir()
    return tmp_path


def write(stage: Path, specs: list[JobSpec], first: int | None) -> None:
    for name, content in make_files(specs, first).items():
        (stage / name).write_bytes(content)


def test_a_task_becomes_its_own_program(stage: Path) -> None:
    specs = [tell(index, stage) for index in range(3)]
    write(stage, specs, 0)
    done = launch(stage, stage / "node", SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_JOB_ID="4710")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["argv"] == [specs[1].job_id, "a b", "$(id)"]
    assert said["cwd"] == str(stage)
    assert said["files"] == {"bootstrap.json": specs[1].private_files["bootstrap.json"].decode()}
    assert said["modes"] == ["0o700", "0o600"]
    environ = said["environ"]
    assert environ["SAMPAN_JOB"] == specs[1].job_id
    assert environ["SAMPAN_RUN"] == "4711:0"
    assert environ["GREETING"] == "żółw 'and' $HOME\nmore"
    assert environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert Path(environ["SAMPAN_JOB_DIR"]).parent == stage / "node"
    assert not {"SLURM_EXPORT_ENV", "SBATCH_ACCOUNT", "PYTHONPATH"} & environ.keys()
    assert {"HOME", "USER", "PATH", "LANG", "TMPDIR", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID"} <= environ.keys()


def test_a_run_that_slurm_restarted_says_so(stage: Path) -> None:
    write(stage, [tell(0, stage)], None)
    done = launch(stage, stage / "node", SLURM_RESTART_COUNT="2")
    assert json.loads(done.stdout)["environ"]["SAMPAN_RUN"] == "4711:2"


def test_folders_of_dead_jobs_are_swept_and_those_of_living_ones_stay(stage: Path) -> None:
    node = stage / "node"
    write(stage, [tell(0, stage)], None)
    for number in ("1", "2"):
        assert launch(stage, node, SLURM_JOB_ID=number).returncode == 0
    assert [folder.name for folder in node.iterdir()] == [f"sampan-{os.getuid()}-job-2"]
    living = start.hold(node / f"sampan-{os.getuid()}-job-2", wait=True)
    (node / f"sampan-{os.getuid() + 1}-job-9").mkdir()
    launch(stage, node, SLURM_JOB_ID="3")
    assert living is not None
    names = {folder.name for folder in node.iterdir()}
    assert names == {f"sampan-{os.getuid()}-job-{number}" for number in "23"} | {f"sampan-{os.getuid() + 1}-job-9"}
    os.close(living)


@pytest.mark.parametrize("is_before", [True, False], ids=["before it was held", "while it waited to hold it"])
def test_a_folder_that_another_jobs_sweep_takes_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_before: bool
) -> None:
    hold, swept = start.hold, []

    def hold_late(folder: Path, *, wait: bool) -> int | None:
        if swept:
            return hold(folder, wait=wait)
        swept.append(folder)
        if is_before:
            shutil.rmtree(folder)
        held = hold(folder, wait=wait)
        shutil.rmtree(folder)
        return held

    monkeypatch.setattr(start, "hold", hold_late)
    private = start.make_private(tmp_path, {"bootstrap.json": b"{}"}, "4711")
    assert swept == [private]
    assert (private / "bootstrap.json").read_bytes() == b"{}"
    assert hold(private, wait=False) is None, "it is held"


def test_a_folder_that_is_there_already_is_not_used(stage: Path) -> None:
    write(stage, [tell(0, stage)], None)
    elsewhere = stage / "elsewhere"
    elsewhere.mkdir()
    (stage / "node" / f"sampan-{os.getuid()}-job-4711").symlink_to(elsewhere)
    said = json.loads(launch(stage, stage / "node").stdout)
    private = Path(said["environ"]["SAMPAN_JOB_DIR"])
    assert private.name.startswith(f"sampan-{os.getuid()}-job-4711-")
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert list(elsewhere.iterdir()) == []


def test_the_folder_is_held_for_as_long_as_the_program_runs(stage: Path) -> None:
    code = "import os, time, sys; print(os.environ['SAMPAN_JOB_DIR'], flush=True); sys.stdin.read()"
    spec = replace(tell(0, stage), argv=(sys.executable, "-c", code))
    write(stage, [spec], None)
    launcher = (
        f"import sys; sys.path.insert(0, {str(stage)!r}); import os, start, pathlib;"
        f"start.main(dict(os.environ), pathlib.Path({str(stage)!r}), pathlib.Path({str(stage / 'node')!r}))"
    )
    argv = [sys.executable, "-I", "-S", "-c", launcher]
    with subprocess.Popen(argv, env=SLURM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        private = Path(job.stdout.readline().strip())
        assert start.hold(private, wait=False) is None
        job.communicate()
    held = start.hold(private, wait=False)
    assert held is not None
    os.close(held)


@pytest.mark.parametrize(
    ("changes", "variables", "told"),
    [
        ({"folder": "/nonexistent/folder"}, {}, "cannot be entered"),
        ({}, {"SLURM_ARRAY_TASK_ID": "7"}, "task 7 is not in this batch"),
        ({"private_files": {"../x": b""}}, {}, "not a name for a private file"),
    ],
)
def test_what_cannot_start_says_why(
    stage: Path, changes: dict[str, object], variables: dict[str, str], told: str
) -> None:
    write(stage, [replace(tell(0, stage), **changes)], None)  # type: ignore[arg-type]
    done = launch(stage, stage / "node", **variables)
    assert done.returncode != 0
    assert told in done.stderr


def test_the_file_itself_is_a_program_that_needs_nothing_of_ours(stage: Path) -> None:
    (stage / "start.py").write_bytes(read_launcher())
    done = subprocess.run([sys.executable, "-I", "-S", str(stage / "start.py")], env={}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (start.CANNOT_START, "")
    assert done.stderr.startswith("sampan: the job could not start: ")


def test_a_thousand_workers_are_written_down_once() -> None:
    specs = [make_spec(index) for index in range(1000)]
    big = [replace(spec, private_files={"bootstrap.json": spec.job_id.encode() + b"x" * 5000}) for spec in specs]
    batch = make_batch(big, 0)
    assert len(json.loads(batch)["programs"]) == 1
    assert len(batch) < 100_000


def test_jobs_that_differ_keep_their_differences() -> None:
    specs = [replace(make_spec(index), folder=f"/data/{index % 2}") for index in range(4)]
    content = json.loads(make_batch(specs, 10))
    assert [program["folder"] for program in content["programs"]] == ["/data/0", "/data/1"]
    assert {task: place for task, (_, place) in content["tasks"].items()} == {"10": 0, "11": 1, "12": 0, "13": 1}


def test_a_text_with_nul_is_refused() -> None:
    with pytest.raises(Unfit):
        make_batch([replace(make_spec(), folder="/a\0b")], None)


def test_the_names_of_the_files_are_such_as_a_stage_may_have() -> None:
    assert all(forms.FILE_NAME.fullmatch(name) for name in make_files([make_spec()], None))
