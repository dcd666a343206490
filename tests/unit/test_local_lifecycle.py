"""One local job from its start to its end: what it gets, what is recorded, what outlives the service."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan_hub.backends.base import BackendError, Phase
from sampan_hub.backends.local.shim import procfs
from sampan_hub.jobs.keys import is_signed, make_random_id
from sampan_hub.jobs.model import Kind, Resources
from tests.contract.local_jobs import SIGNING_KEY, LocalJobs, make_spec, processes_of, python


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[LocalJobs]:
    rig = LocalJobs(tmp_path / "jobs")
    yield rig
    await rig.close()


@pytest.mark.parametrize(
    ("script", "code", "signal", "reason"),
    [
        ("exit 0", 0, None, "completed"),
        ("exit 3", 3, None, "exited"),
        ("kill -TERM $$", None, 15, "signal"),
        ("kill -KILL $$", None, 9, "killed"),
    ],
)
async def test_how_it_ended_survives_a_restart_of_the_service(
    jobs: LocalJobs, script: str, code: int | None, signal: int | None, reason: str
) -> None:
    job_id = await jobs.start(("sh", "-c", script))
    ended = await jobs.until_ended(job_id)
    jobs.reopen()
    assert await jobs.see(job_id) == ended
    assert ended.exit is not None
    assert (ended.exit.code, ended.exit.signal) == (code, signal)
    assert ended.exit.peak_memory_bytes
    assert ended.reason is not None
    assert ended.reason.code == reason
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.started_at <= ended.ended_at


async def test_a_program_that_cannot_start_is_an_end_with_the_reason(jobs: LocalJobs) -> None:
    job_id = await jobs.start(("/no/such/program",))
    ended = await jobs.until_ended(job_id)
    assert ended.reason is not None
    assert ended.reason.code == "cannot-start"
    assert "/no/such/program" in ended.reason.text
    nowhere = await jobs.until_ended(await jobs.start(folder="/no/such/folder"))
    assert nowhere.reason is not None
    assert "/no/such/folder" in nowhere.reason.text


async def test_the_job_computes_the_run_identity_that_the_backend_shows(jobs: LocalJobs) -> None:
    code = (
        "import os;"
        "start = open('/proc/self/stat').read().rpartition(')')[2].split()[19];"
        "boot = open('/proc/sys/kernel/random/boot_id').read().strip();"
        "print(f'{os.getpid()}:{start}:{boot}')"
    )
    job_id = await jobs.start(python(code))
    ended = await jobs.until_ended(job_id)
    assert ended.run is not None
    assert (await jobs.backend.read_log(job_id, 1)).lines == (ended.run.token,)


async def test_its_identity_comes_back_as_signed(jobs: LocalJobs) -> None:
    spec = jobs.spec()
    await jobs.backend.submit([spec])
    seen = await jobs.see(spec.job_id)
    assert seen is not None
    assert seen.identity == spec.identity
    assert is_signed(SIGNING_KEY, seen.identity)


async def test_its_environment_is_small_and_holds_no_secret_of_the_service(
    jobs: LocalJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMPAN_SECRET", "hush")
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    job_id = await jobs.start(python("import os; print(*sorted(os.environ))"), env={"EXTRA": "1"})
    await jobs.until_ended(job_id)
    names = set((await jobs.backend.read_log(job_id, 1)).lines[0].split())
    always = {"PATH", "HOME", "USER", "LANG", "SAMPAN_JOB", "SAMPAN_JOB_DIR", "EXTRA"}
    assert names - {"TMPDIR", "LC_CTYPE"} == always


async def test_its_keeper_carries_nothing_of_the_services_environment(
    jobs: LocalJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAMPAN_SECRET", "hush")
    job_id = await jobs.start()
    (main,) = processes_of(job_id)
    command, environment, open_files = _parent_of(main)
    assert command == "sampan-shim"
    assert b"hush" not in environment
    assert not [name for name in open_files if "socket" in name]


def _parent_of(pid: int) -> tuple[str, bytes, list[str]]:
    """Command, environment and open files of this process's parent."""
    stat = procfs.read_stat(pid)
    assert stat is not None
    parent = Path(f"/proc/{stat.parent}")
    open_files = [str(descriptor.readlink()) for descriptor in (parent / "fd").iterdir()]
    return (parent / "comm").read_text().strip(), (parent / "environ").read_bytes(), open_files


OF_THE_C_LIBRARY = 1 << 31 | 1 << 32
"""Signals 32 and 33: it keeps them to itself, so a parent (make) that was born with them ignored hands that on."""


async def test_what_the_program_inherits(jobs: LocalJobs, tmp_path: Path) -> None:
    code = (
        "import os, resource, signal;"
        "print(os.getcwd(), os.readlink('/proc/self/fd/0'), oct(os.umask(0)), os.getsid(0) == os.getpid(),"
        " open('/proc/self/oom_score_adj').read().strip(), resource.getrlimit(resource.RLIMIT_CORE)[0],"
        " len(os.listdir('/proc/self/fd')))"
    )
    job_id = await jobs.start(python(code), folder=str(tmp_path), kind=Kind.WORKER)
    await jobs.until_ended(job_id)
    (line,) = (await jobs.backend.read_log(job_id, 1)).lines
    assert line == f"{tmp_path} /dev/null 0o77 True 700 0 4"  # three streams and the listing's own
    status = await jobs.start(("grep", "-E", "SigIgn|SigBlk", "/proc/self/status"))
    await jobs.until_ended(status)
    lines = (await jobs.backend.read_log(status, 9)).lines
    assert all(int(line.split()[1], 16) & ~OF_THE_C_LIBRARY == 0 for line in lines), lines


async def test_private_files_are_private_and_go_with_the_job(jobs: LocalJobs) -> None:
    job_id = await jobs.start(
        ("sh", "-c", 'cat "$SAMPAN_JOB_DIR/bootstrap.json"; exec sleep 1000'),
        private_files={"bootstrap.json": b"a credential\n"},
    )
    await jobs.until_output(job_id, "a credential")
    for path in [jobs.root, *jobs.root.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    await jobs.backend.cancel([job_id])
    await jobs.until_ended(job_id)
    assert not (jobs.folder(job_id) / "private").exists()
    assert all(b"a credential" not in path.read_bytes() for path in jobs.folder(job_id).glob("*.json"))


async def test_what_can_never_run_is_refused_and_the_rest_runs(jobs: LocalJobs) -> None:
    foreign = make_spec("zzzzzzzz")
    empty = jobs.spec(())
    escaping = jobs.spec(private_files={"../../x": b""})
    good = jobs.spec()
    submitted = await jobs.backend.submit([foreign, empty, escaping, good])
    assert submitted.accepted == {good.job_id}
    assert set(submitted.refused) == {foreign.job_id, empty.job_id, escaping.job_id}
    assert [job.job_id for job in (await jobs.backend.observe()).jobs] == [good.job_id]


async def test_free_capacity_is_what_living_jobs_leave(jobs: LocalJobs) -> None:
    total = Resources(64_000, 1 << 36)
    assert (await jobs.backend.capacity()).free == total
    job_id = await jobs.start(resources=Resources(1500, 1 << 30))
    capacity = await jobs.backend.capacity()
    assert capacity.total == total
    assert capacity.free == Resources(62_500, (1 << 36) - (1 << 30))
    assert not capacity.queues
    await jobs.backend.cancel([job_id])
    await jobs.until_ended(job_id)
    assert (await jobs.backend.capacity()).free == total


async def test_forget_removes_what_ended_and_refuses_what_runs(jobs: LocalJobs) -> None:
    running = await jobs.start()
    ended = await jobs.start(("true",))
    await jobs.until_ended(ended)
    with pytest.raises(BackendError, match=running):
        await jobs.backend.forget([running, ended, make_random_id(jobs.instance)])
    assert not jobs.folder(ended).exists()
    seen = await jobs.see(running)
    assert seen is not None
    assert seen.phase is Phase.RUNNING
    assert len(processes_of(running)) == 1
