"""Jobs forked from a process with everything imported: as separate as others, and never from old imports."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from sampan_hub.backends.base import Phase
from sampan_hub.backends.local.shim import procfs
from tests.contract.local_jobs import LocalJobs, processes_of, until
from tests.support.fork_environment import IS_FORKED, ForkEnvironment

FACTS = """
import json, os, random, resource, signal, sys
print(json.dumps({
    "forked": "imported" in sys.modules, "folder": os.getcwd(), "stdin": os.readlink("/proc/self/fd/0"),
    "umask": os.umask(0), "leads": os.getsid(0) == os.getpid(), "oom": open("/proc/self/oom_score_adj").read().strip(),
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0], "files": len(os.listdir("/proc/self/fd")),
    "environ": dict(os.environ), "shown": open("/proc/self/environ").read().rstrip("\\0").split("\\0"),
    "argv": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"), "sys_argv": sys.argv,
    "path": sys.path[0], "command": open("/proc/self/comm").read().strip(), "main": __name__,
    "signals": [line for line in open("/proc/self/status") if line.startswith(("SigIgn", "SigBlk", "SigCgt"))],
    "shim": [name for name in sys.modules if name.startswith("shim")], "spec": sys.modules["__main__"].__spec__.name,
    "start": open("/proc/self/stat").read().rpartition(")")[2].split()[19], "pid": os.getpid(),
    "random": random.random(), "original": sys.orig_argv,
}))
"""


class Rig:
    """A backend whose jobs run in a fork environment; its fork server for workers is started in advance."""

    def __init__(self, folder: Path, imported: str = "VALUE = 1\n") -> None:
        self.environment = ForkEnvironment(folder / "environment", imported)
        prepared = [(self.environment.argv, self.environment.variables)]
        self.jobs = LocalJobs(folder / "jobs", fork=True, prepared=prepared)

    async def until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while not any(self.jobs.backend.fork_servers.values()):
            await self.jobs.backend.observe()
            assert time.monotonic() < deadline, self.jobs.backend.fork_servers
            await asyncio.sleep(0.02)

    async def start(self, code: str, env: Mapping[str, str] | None = None, **options: Any) -> str:
        return await self.jobs.start(
            self.environment.argv, env={**self.environment.running(code), **(env or {})}, **options
        )

    async def run(self, code: str, env: Mapping[str, str] | None = None, **options: Any) -> str:
        """What a job that ran this code said."""
        job_id = await self.start(code, env, **options)
        await self.jobs.until_ended(job_id)
        return "\n".join((await self.jobs.backend.read_log(job_id, 1000)).lines)

    def server_pids(self) -> list[int]:
        """Fork servers of this environment, from /proc alone."""
        found = []
        for process in psutil.process_iter():
            try:
                is_server = process.cmdline()[1:2] == [str(_shim())] and process.name() != "sampan-shim"
                if is_server and process.environ().get("PYTHONPATH") == str(self.environment.folder):
                    found.append(process.pid)
            except psutil.Error:
                continue
        return found


def _shim() -> Path:
    return Path(procfs.__file__).parent


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(tmp_path)
    await made.until_ready()
    yield made
    await made.jobs.close()
    made.jobs.backend.close()


async def test_a_forked_job_is_what_a_fresh_one_is(rig: Rig, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    forked = json.loads(await rig.run(FACTS, folder=str(work)))
    rig.jobs.options["fork"] = False
    rig.jobs.backend.close()
    rig.jobs.reopen()
    fresh = json.loads(await rig.run(FACTS, folder=str(work)))
    assert (forked.pop("forked"), fresh.pop("forked")) == (True, False)
    assert forked["environ"]["SAMPAN_JOB"] != fresh["environ"]["SAMPAN_JOB"]
    assert sorted(forked["shown"]) == sorted(f"{name}={value}" for name, value in _shown(forked["environ"]).items())
    for facts in (forked, fresh):
        for name in ("pid", "start", "random"):
            facts.pop(name)
        for name in ("SAMPAN_JOB", "SAMPAN_JOB_DIR"):
            facts["environ"].pop(name)
        facts["shown"] = sorted(word for word in facts["shown"] if not word.startswith(("SAMPAN_JOB", "SAMPAN_CODE")))
    assert forked == fresh


def _shown(environ: dict[str, str]) -> dict[str, str]:
    """Without what Python itself adds when it starts."""
    return {name: value for name, value in environ.items() if name != "LC_CTYPE"}


async def test_its_run_identity_is_its_own(rig: Rig) -> None:
    job_id = await rig.start(FACTS)
    ended = await rig.jobs.until_ended(job_id)
    facts = json.loads((await rig.jobs.backend.read_log(job_id, 1)).lines[0])
    assert ended.run is not None
    assert ended.run.token == f"{facts['pid']}:{facts['start']}:{procfs.boot_id()}"


async def test_two_forks_draw_different_numbers(rig: Rig) -> None:
    first, second = json.loads(await rig.run(FACTS)), json.loads(await rig.run(FACTS))
    assert first["forked"]
    assert second["forked"]
    assert first["random"] != second["random"]


@pytest.mark.parametrize(
    ("code", "exit_code", "number", "said"),
    [
        ("import sys; sys.exit(3)", 3, None, ""),
        ("import atexit; atexit.register(print, 'last word'); print('first')", 0, None, "first\nlast word"),
        ("raise RuntimeError('a cause')", 1, None, "RuntimeError: a cause"),
        ("raise OSError(5, 'no keeper may take this for its own')", 1, None, "no keeper may take this"),
        ("raise KeyError('nor this')", 1, None, "KeyError: 'nor this'"),
        ("import sys; sys.exit('a sentence')", 1, None, "a sentence"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", None, 15, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None, 9, ""),
        (
            "import threading; threading.Thread(target=lambda: print('a thread ends first')).start()",
            0,
            None,
            "a thread",
        ),
    ],
)
async def test_its_end_is_recorded_as_of_any_job(
    rig: Rig, code: str, exit_code: int | None, number: int | None, said: str
) -> None:
    job_id = await rig.start(f"{IS_FORKED}; sys.stdout.flush()\n{code}")
    ended = await rig.jobs.until_ended(job_id)
    assert ended.exit is not None
    assert (ended.exit.code, ended.exit.signal) == (exit_code, number)
    assert ended.exit.peak_memory_bytes
    output = "\n".join((await rig.jobs.backend.read_log(job_id, 1000)).lines)
    assert output.startswith("forked")
    assert said in output


async def test_a_stop_ends_its_whole_tree(rig: Rig) -> None:
    code = "import os, time\nif os.fork() == 0: os.setsid()\nprint('up', flush=True)\nwhile True: time.sleep(1)"
    job_id = await rig.start(code)
    await rig.jobs.until_output(job_id, "up\nup")
    assert len(processes_of(job_id)) == 2  # the fork of a fork too is known by what the kernel shows of it
    await rig.jobs.backend.cancel([job_id])
    await rig.jobs.until_ended(job_id)
    assert processes_of(job_id) == []


async def test_without_its_keeper_it_is_found_and_stopped_all_the_same(rig: Rig) -> None:
    job_id = await rig.start("import time\nwhile True: time.sleep(1)")
    (main,) = processes_of(job_id)
    stat = procfs.read_stat(main)
    assert stat is not None
    keeper = procfs.read_stat(stat.parent)
    assert keeper is not None
    os.kill(stat.parent, signal.SIGKILL)
    await until(lambda: not procfs.is_alive(keeper.process), "the keeper is gone")
    seen = await rig.jobs.see(job_id)
    assert seen is not None
    assert seen.phase is Phase.RUNNING
    await rig.jobs.backend.cancel([job_id])
    await rig.jobs.until_ended(job_id)
    assert processes_of(job_id) == []


async def test_after_an_installation_no_job_gets_old_packages(rig: Rig) -> None:
    (old,) = rig.server_pids()
    (rig.environment.folder / "something-2.0.dist-info").mkdir()
    (rig.environment.folder / "something.py").write_text("VERSION = 2")
    assert await rig.run(IS_FORKED + "; import something; print(something.VERSION)") == "fresh\n2"
    await rig.until_ready()
    assert await rig.run(IS_FORKED) == "forked"
    (new,) = rig.server_pids()
    assert new != old


async def test_after_an_edit_no_job_gets_the_old_module(rig: Rig) -> None:
    value = IS_FORKED + "; import imported; print(imported.VALUE)"
    assert await rig.run(value) == "forked\n1"
    rig.environment.imported.write_text("VALUE = 22\n")
    assert await rig.run(value) == "fresh\n22"
    await rig.until_ready()
    assert await rig.run(value) == "forked\n22"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"JUPYTERHUB_USER": "ben", "SAMPAN_ANY": "1", "MEM_LIMIT": "5"}, "forked"),
        ({"HOME": "/tmp"}, "forked"),
        ({"HOME": "/nowhere/full"}, "fresh"),
        ({"PYTHONHASHSEED": "1"}, "fresh"),
        ({"DASK_X": "1"}, "fresh"),
        ({"JUPYTERHUB_SINGLEUSER_APP": "notebook"}, "fresh"),
        ({"SAMPAN_LONG": "x" * 20_000}, "fresh"),
    ],
)
async def test_what_imports_may_depend_on_is_never_shared(rig: Rig, variables: dict[str, str], said: str) -> None:
    assert await rig.run(IS_FORKED, variables) == said


async def test_a_batch_is_forked_at_once_and_other_programs_are_started_beside_it(rig: Rig) -> None:
    specs = [rig.jobs.spec(rig.environment.argv, env=rig.environment.running(IS_FORKED)) for _ in range(4)]
    other = rig.jobs.spec(("echo", "another"))
    submitted = await rig.jobs.backend.submit([*specs, other])
    assert submitted.accepted == {spec.job_id for spec in (*specs, other)}
    for spec in (*specs, other):
        await rig.jobs.until_ended(spec.job_id)
    said = [(await rig.jobs.backend.read_log(spec.job_id, 9)).lines for spec in (*specs, other)]
    assert said == [("forked",)] * 4 + [("another",)]


async def test_a_server_that_was_killed_costs_a_fresh_start_and_comes_back(rig: Rig) -> None:
    (server,) = rig.server_pids()
    os.kill(server, signal.SIGKILL)
    await until(lambda: rig.server_pids() == [], "the server is gone")
    assert await rig.run(IS_FORKED) == "fresh"
    await rig.until_ready()
    assert await rig.run(IS_FORKED) == "forked"


async def test_a_server_that_hangs_costs_a_job_its_patience_and_is_replaced(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan_hub.backends.local.fork_server.PATIENCE_S", 0.2)
    (server,) = rig.server_pids()
    os.kill(server, signal.SIGSTOP)
    assert await rig.run(IS_FORKED) == "fresh"
    await until(lambda: not psutil.pid_exists(server), "the server that hung is gone")
    monkeypatch.undo()
    await rig.until_ready()
    assert await rig.run(IS_FORKED) == "forked"


async def test_a_job_asked_of_a_server_and_started_beside_it_starts_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan_hub.backends.local.fork_server.PATIENCE_S", 0.0)
    monkeypatch.setattr("sampan_hub.backends.local.fork_server.PATIENCE_PER_JOB_S", 0.0)
    code = "import os, time\nos.write(1, b'up\\n')\nwhile True: time.sleep(1)"
    job_ids = [await rig.start(code) for _ in range(3)]  # nobody waits for the answer: both ways go on
    for job_id in job_ids:
        await rig.jobs.until_output(job_id, "up")
        assert len(processes_of(job_id)) == 1
        assert (await rig.jobs.backend.read_log(job_id, 9)).lines == ("up",)


@pytest.mark.parametrize(
    "imported",
    [
        "raise RuntimeError('no')",
        "import sys; sys.exit(0)",
        "import os; NULL = open(os.devnull)",
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()",
    ],
)
async def test_an_environment_that_cannot_be_imported_in_advance_is_left_alone(tmp_path: Path, imported: str) -> None:
    rig = Rig(tmp_path, imported)
    try:
        await rig.jobs.backend.observe()
        (server,) = rig.jobs.backend.fork_servers
        deadline = time.monotonic() + 30
        while rig.jobs.backend.fork_servers:
            await rig.jobs.backend.observe()
            assert time.monotonic() < deadline, "it has not given up"
            await asyncio.sleep(0.02)
        assert await rig.run(IS_FORKED) == "fresh"
        assert rig.server_pids() == []  # nor is it tried again at once
        assert server.module == "sampan.worker"
    finally:
        await rig.jobs.close()


async def test_an_environment_not_prepared_gets_its_server_with_the_second_job(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.jobs.options["prepared"] = ()
    rig.jobs.reopen()
    try:
        assert await rig.run(IS_FORKED) == "fresh"
        assert rig.server_pids() == []
        assert await rig.run(IS_FORKED) == "fresh"
        await rig.until_ready()
        assert await rig.run(IS_FORKED) == "forked"
    finally:
        await rig.jobs.close()
        rig.jobs.backend.close()


SERVICE = """
import asyncio, json, sys
from pathlib import Path
from tests.unit.test_forkserver import Rig
async def main():
    rig = Rig(Path(sys.argv[1]))
    await rig.until_ready()
    job_id = await rig.start("import time\\nwhile True: time.sleep(1)")
    print(json.dumps([rig.server_pids(), job_id, rig.jobs.instance]), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def _serve_and_be_killed(folder: Path) -> list[Any]:
    with subprocess.Popen([sys.executable, "-c", SERVICE, str(folder)], stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        said = service.stdout.readline()
        service.kill()
    return list(json.loads(said))


async def test_it_ends_with_the_service_however_that_ends_and_its_jobs_go_on(tmp_path: Path) -> None:
    (server,), job_id, instance = await asyncio.to_thread(_serve_and_be_killed, tmp_path)
    await until(lambda: not psutil.pid_exists(server), "the fork server has ended")
    jobs = LocalJobs(tmp_path / "jobs")
    jobs.instance = instance
    jobs.reopen()
    seen = await jobs.see(job_id)
    assert seen is not None
    assert seen.phase is Phase.RUNNING
    assert len(processes_of(job_id)) == 1
    await jobs.close()
    assert processes_of(job_id) == []
