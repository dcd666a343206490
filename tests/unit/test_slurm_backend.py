"""The backend put together, over commands and a caller that answer as told: whom it asks for what, and how often."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sampan_hub.backends.base import BackendError, LogTail, Phase
from sampan_hub.backends.slurm import SlurmBackend, submitting
from sampan_hub.backends.slurm.acting import Acting, ActingRefused, ActingUnreachable, Started
from sampan_hub.backends.slurm.commands import Commands
from sampan_hub.backends.slurm.comment import make_comment
from sampan_hub.backends.slurm.names import JobName, make_stage
from sampan_hub.backends.slurm.nodes import is_on
from sampan_hub.backends.slurm.placement import make_placement, partitions
from sampan_hub.jobs.model import Resources
from sampan_hub.privilege.requests import Submit, parse_request, render_request
from sampan_hub.settings.model import Environment
from sampan_hub.settings.slurm import SlurmBackend as Settings
from tests.unit.slurm_rows import BATCH, INSTANCE, KEY, make_identity, make_spec

CONFIG = "AccountingStorageType = accounting_storage/{}\nMaxArraySize = 1001\n"
FAKE = """#!/bin/sh
echo "$0 $*" >> {folder}/calls
. {folder}/{name}.sh
"""


class FakeSlurm:
    """A folder of commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Sequence[str]] = []
        self.say("scontrol", f"printf '%s' '{CONFIG.format('slurmdbd')}'")
        self.say("sacct", "exit 0")
        self.say("sinfo", "echo 'node1 0/4/0/4 4000 0 idle (null) gpu:0'")
        self.show()

    def say(self, name: str, script: str) -> None:
        (self.folder / f"{name}.sh").write_text(script + "\n")
        command = self.folder / name
        if not command.exists():
            command.write_text(FAKE.format(folder=self.folder, name=name))
            command.chmod(0o755)

    def show(self, *rows: Sequence[str]) -> None:
        """What squeue shows: id, raw id, state, user, uid, name, folder, comment."""
        lines = "w=${SQUEUE_FORMAT%%\\%*}\n"
        when = "2026-11-23T04:00:00"
        for slurm_id, raw_id, state, user, uid, *texts in rows:
            fields = (slurm_id, raw_id, state, user, uid, "compute", "1", when, when, "node1", "None", *texts)
            lines += f'for f in {" ".join(fields)}; do printf \'%s%s\' "$w" "$f"; done; printf \'%s\\n\' "$w"\n'
        self.say("squeue", lines)

    def calls(self) -> Counter[str]:
        path = self.folder / "calls"
        return (
            Counter(Path(line.split()[0]).name for line in path.read_text().splitlines())
            if path.exists()
            else Counter()
        )


class FakeActing(Acting):
    """Notes what it is asked for; `answer` decides about submits."""

    def __init__(self) -> None:
        super().__init__(("/nonexistent",))
        self.asked: list[tuple[str, ...]] = []
        self.submits: list[Submit] = []
        self.answer: Callable[[Submit], Started] = lambda _: Started(77, was_there=False)

    async def submit(self, request: Submit) -> Started:
        assert parse_request(*render_request(request)) == request, "the privileged program would refuse it"
        self.submits.append(request)
        return self.answer(request)

    async def cancel(self, user: str, slurm_jobs: Sequence[str], name_prefix: str) -> None:
        self.asked.append(("cancel", user, *slurm_jobs))

    async def log(self, user: str, stage: str, file: str, lines: int) -> LogTail:
        self.asked.append(("log", user, stage, file))
        return LogTail(("said",), truncated=False)

    async def remove_stages(self, user: str, stages: Sequence[str]) -> None:
        self.asked.append(("remove", user, *stages))


class Rig:
    def __init__(self, folder: Path, **settings: object) -> None:
        (folder / "bin").mkdir()
        self.folder = folder
        self.slurm = FakeSlurm(folder / "bin")
        self.acting = FakeActing()
        self.proofs: list[tuple[str, int, str]] = []
        self.settings = Settings(kind="slurm", partition="compute", commands=folder / "bin", **settings)  # type: ignore[arg-type]
        self.backend = self.reopen()

    def reopen(self) -> SlurmBackend:
        async def prove(host: str, port: int, job_id: str) -> bool:
            self.proofs.append((host, port, job_id))
            return True

        self.backend = SlurmBackend(
            "slurm",
            self.settings,
            INSTANCE,
            signing_key=KEY,
            acting=self.acting,
            journal=self.folder / "journal.sqlite",
            environments={"default": Environment(prefix=Path("/opt/env"))},
            prove=prove,
        )
        return self.backend


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def shown(
    index: int, state: str = "RUNNING", *, base: int = 77, user: str = "alice", uid: str = "4001"
) -> Sequence[str]:
    """The row of the job at this place, alone in its Slurm job."""
    name = JobName(INSTANCE, BATCH, index)
    comment = make_comment([make_identity(index)], name, None, KEY)
    folder = f"/home/{user}/.sampan/jobs/{make_stage(name, 0)}"
    return (str(base), str(base), state, user, uid, str(name), folder, comment)


async def test_jobs_of_two_people_are_two_calls(rig: Rig) -> None:
    specs = [make_spec(0), make_spec(1), make_spec(2, owner="bob", uid=4002)]
    submitted = await rig.backend.submit(specs)
    assert submitted.accepted == {spec.job_id for spec in specs}
    assert [(request.user, request.options.tasks) for request in rig.acting.submits] == [
        ("alice", (0, 1)),
        ("bob", None),
    ]
    assert {request.script_python for request in rig.acting.submits} == {"/opt/env/bin/python"}


async def test_outcomes_are_told_job_by_job(rig: Rig) -> None:
    """One person's refusal and another's silence leave the third one's job accepted."""

    def answer(request: Submit) -> Started:
        if request.user == "bob":
            raise ActingRefused("refused", "Slurm refused the job: Invalid account.")
        if request.user == "eve":
            raise BackendError("no answer")
        return Started(77, was_there=False)

    rig.acting.answer = answer
    specs = [make_spec(index, owner=owner) for index, owner in enumerate(("alice", "bob", "eve"))]
    submitted = await rig.backend.submit(specs)
    assert submitted.accepted == {specs[0].job_id}
    assert submitted.refused.keys() == {specs[1].job_id}
    assert submitted.refused[specs[1].job_id].code == "slurm-account"
    assert ("remove", "bob", f"sampan.{INSTANCE}.{BATCH}.1.0") in rig.acting.asked


async def test_silence_for_all_is_an_error(rig: Rig) -> None:
    def answer(_: Submit) -> Started:
        raise BackendError("no answer")

    rig.acting.answer = answer
    with pytest.raises(BackendError, match="no answer"):
        await rig.backend.submit([make_spec(0)])


async def test_a_controller_that_is_away_for_a_moment_is_asked_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "_AGAIN_AFTER_S", 0.01)
    monkeypatch.setattr(submitting, "PERSIST_S", 0.3)
    answers = iter([False, False, True])

    def answer(_: Submit) -> Started:
        if next(answers, False):
            return Started(77, was_there=False)
        raise ActingUnreachable("Slurm does not answer")

    rig.acting.answer = answer
    job = make_spec(0)
    assert (await rig.backend.submit([job])).accepted == {job.job_id}
    assert len(rig.acting.submits) == 3
    with pytest.raises(BackendError, match="does not answer"):  # it is away for good
        await rig.backend.submit([make_spec(1)])


async def test_what_an_earlier_call_put_there_counts_when_it_is_listed(rig: Rig) -> None:
    rig.acting.answer = lambda _: Started(77, was_there=True)
    first, second = make_spec(0), make_spec(5)
    rig.slurm.show(shown(0))
    submitted = await rig.backend.submit([first, second])
    assert submitted.accepted == {first.job_id}
    assert submitted.refused == {}


async def test_what_is_sure_is_told_though_what_is_doubted_cannot_be_looked_at(rig: Rig) -> None:
    rig.acting.answer = lambda request: Started(77, was_there=request.user == "bob")
    specs = [make_spec(0), make_spec(1, owner="bob", uid=4002)]
    rig.slurm.say("squeue", "exit 1")
    assert (await rig.backend.submit(specs)).accepted == {specs[0].job_id}
    with pytest.raises(BackendError):
        await rig.backend.submit([make_spec(2, owner="bob", uid=4002)])


async def test_what_ended_is_not_submitted_again(rig: Rig) -> None:
    await rig.backend.submit([make_spec(0)])
    rig.slurm.show(shown(0, "CANCELLED"))
    await rig.backend.cancel([make_spec(0).job_id])
    (seen,) = (await rig.backend.observe()).jobs
    assert seen.phase is Phase.ENDED
    rig.reopen()
    assert (await rig.backend.submit([make_spec(0)])).accepted == {seen.job_id}
    assert len(rig.acting.submits) == 1


async def test_a_cancel_asks_each_person_once_and_never_for_others_jobs(rig: Rig) -> None:
    rig.slurm.show(shown(0), shown(1, base=78), shown(2, base=79, user="bob", uid="4002"))
    ids = [make_identity(index).job_id for index in range(3)]
    await rig.backend.cancel([*ids, "zzzzzzzz.aaaaaaaaaaaaaaaa", "no id at all"])
    assert rig.acting.asked == [("cancel", "alice", "77", "78")]


async def test_a_cancel_of_what_was_just_submitted_needs_no_listing(rig: Rig) -> None:
    specs = [make_spec(index) for index in range(3)]
    await rig.backend.submit(specs)
    before = rig.slurm.calls()["squeue"]
    await rig.backend.cancel([specs[1].job_id])
    assert rig.acting.asked == [("cancel", "alice", "77_1")]
    assert rig.slurm.calls()["squeue"] == before


@pytest.mark.parametrize("comment", ["", "changed"], ids=["renamed", "renamed, with another comment"])
async def test_a_person_does_not_hide_a_job_by_its_name(rig: Rig, comment: str) -> None:
    job_id = make_identity(0).job_id
    await rig.backend.submit([make_spec(0)])
    rig.reopen()
    *fields, _, folder, own_comment = shown(0)
    rig.slurm.show((*fields, "innocent", folder, comment or own_comment))
    listing = await rig.backend.observe()
    assert [(seen.job_id, seen.owner, seen.phase) for seen in listing.jobs] == [(job_id, "alice", Phase.RUNNING)]
    assert [seen.identity is not None for seen in listing.jobs] == [not comment]
    assert "renamed to 'innocent'" in listing.troubles[0]
    await rig.backend.cancel([job_id])
    assert rig.acting.asked == [("cancel", "alice", "77")]


@pytest.mark.parametrize(("user", "folder"), [("bob", ""), ("alice", "/home/alice")], ids=["bob's", "elsewhere"])
async def test_a_number_alone_makes_no_job_ours(rig: Rig, user: str, folder: str) -> None:
    """A controller that lost its state gives numbers again."""
    await rig.backend.submit([make_spec(0)])
    *fields, _, own_folder, comment = shown(0, user=user)
    rig.slurm.show((*fields, "innocent", folder or own_folder, comment))
    assert (await rig.backend.observe()).jobs == ()


async def test_listings_that_fail_or_hang_or_are_garbled_raise(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.slurm.show(shown(0))
    assert len((await rig.backend.observe()).jobs) == 1
    for script in (
        "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
        "echo garbage",
        "printf '\\377\\376'",
        "echo 'squeue: error: something is odd' >&2",
        "kill -9 $$",
    ):
        rig.slurm.say("squeue", script)
        with pytest.raises(BackendError):
            await rig.backend.observe()
    rig.slurm.say("squeue", "exec sleep 100")
    monkeypatch.setattr(rig.backend._commands, "_limit_s", 0.2)
    with pytest.raises(BackendError, match="did not answer"):
        await rig.backend.observe()


async def test_an_unlisted_state_says_nothing_and_is_counted(rig: Rig) -> None:
    rig.slurm.show(shown(0, "DREAMING"))
    listing = await rig.backend.observe()
    assert [seen.phase for seen in listing.jobs] == [Phase.UNKNOWN]
    assert any("DREAMING" in trouble for trouble in listing.troubles)
    assert rig.backend.unlisted_states == 1


async def test_the_copy_of_another_person_is_shown_as_theirs_and_ends_nothing(rig: Rig) -> None:
    rig.slurm.show(shown(0), shown(0, "COMPLETED", base=78, user="bob", uid="4002"))
    listing = await rig.backend.observe()
    assert [(seen.owner, seen.phase) for seen in listing.jobs] == [("alice", Phase.RUNNING)]


async def test_logs_and_stages_are_found_after_a_restart(rig: Rig) -> None:
    specs = [make_spec(index) for index in range(2)]
    await rig.backend.submit(specs)
    rig.reopen()
    assert (await rig.backend.read_log(specs[1].job_id, 5)).lines == ("said",)
    stage = f"sampan.{INSTANCE}.{BATCH}.0.0"
    assert rig.acting.asked == [("log", "alice", stage, "1.log")]
    with pytest.raises(BackendError, match="kept"):
        await rig.backend.forget([specs[0].job_id])
    assert (await rig.backend.read_log("unknown", 5)).lines == ()


async def test_a_forgotten_job_is_forgotten_while_slurm_still_shows_it(rig: Rig) -> None:
    rig.slurm.show(shown(0, "CANCELLED"))
    job_id = make_identity(0).job_id
    await rig.backend.cancel([job_id])
    assert [seen.job_id for seen in (await rig.backend.observe()).jobs] == [job_id]
    await rig.backend.forget([job_id])
    assert ("remove", "alice", f"sampan.{INSTANCE}.{BATCH}.0.0") in rig.acting.asked
    assert (await rig.backend.observe()).jobs == ()


async def test_capacity_is_asked_once_while_nothing_changes(rig: Rig) -> None:
    for _ in range(3):
        capacity = await rig.backend.capacity()
        await rig.backend.observe()
    assert capacity.free == Resources(4000, 4000 << 20)
    assert capacity.queues
    assert rig.slurm.calls()["sinfo"] == 1


async def test_a_listener_is_the_jobs_own_on_its_node_and_with_proof(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.slurm.show(shown(0))
    job_id = make_identity(0).job_id
    loop = asyncio.get_running_loop()

    async def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        assert host == "node1"
        return [(2, 1, 6, "", ("10.88.0.11", 0))]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    assert await rig.backend.owns_listener(job_id, "10.88.0.11", 31000)
    assert rig.proofs == [("10.88.0.11", 31000, job_id)]
    assert not await rig.backend.owns_listener(job_id, "10.88.0.12", 31000)
    assert not await rig.backend.owns_listener(job_id, "127.0.0.1", 31000)
    assert not await rig.backend.owns_listener(job_id, "node1", 31000)
    with pytest.raises(BackendError, match="on which node"):  # a listing that lacks it says nothing of it
        await rig.backend.owns_listener(make_identity(1).job_id, "10.88.0.11", 31000)
    assert len(rig.proofs) == 1


async def test_on_a_network_of_their_own_nodes_need_no_name() -> None:
    assert await is_on("10.9.0.5", {"node1"}, "10.9.0.0/16")
    assert not await is_on("10.8.0.5", {"node1"}, "10.9.0.0/16")
    assert not await is_on("10.9.0.5", set(), "10.9.0.0/16")


async def test_commands_run_in_a_fixed_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("SQUEUE_USERS", "nobody")
    command = tmp_path / "squeue"
    command.write_text("#!/bin/sh\nenv\n")
    command.chmod(0o755)
    told = dict(line.split("=", 1) for line in (await Commands("slurm", tmp_path).run("squeue")).splitlines())
    assert {name: told[name] for name in ("LC_ALL", "TZ", "SLURM_TIME_FORMAT")} == {
        "LC_ALL": "C",
        "TZ": "UTC",
        "SLURM_TIME_FORMAT": "standard",
    }
    assert not {"SLURM_JOB_ID", "SQUEUE_USERS", "HOME"} & told.keys()


async def test_a_command_that_is_given_up_is_ended(tmp_path: Path) -> None:
    command = tmp_path / "squeue"
    command.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 100\n")
    command.chmod(0o755)
    with pytest.raises(BackendError):
        await Commands("slurm", tmp_path, limit_s=0.5).run("squeue")
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_is_said_last_counts_project_before_size_before_backend() -> None:
    settings = Settings(
        kind="slurm",
        partition="compute",
        account="all",
        directives=("--exclude=node9",),
        walltime=3600,
        sizes={"gpu": {"partition": "gpu,big", "gres": "gpu:a100:1", "walltime": 90, "account": "size"}},  # type: ignore[dict-item]
        projects={"lab": {"account": "lab", "qos": "high", "directives": ("--nice=5",)}},  # type: ignore[dict-item]
    )
    placed = make_placement(settings, "gpu", "lab", Resources(1500, (1 << 30) + 1, 1))
    assert (placed.partition, placed.account, placed.qos, placed.gres) == ("gpu,big", "lab", "high", "gpu:a100:1")
    assert (placed.cpus, placed.memory_mb, placed.gpus, placed.minutes) == (2, 1025, 1, 2)
    assert placed.directives == ("--exclude=node9", "--nice=5")
    other = make_placement(settings, "small", "personal", Resources(1000, 1 << 30))
    assert (other.partition, other.account, other.qos, other.gres, other.minutes) == ("compute", "all", None, None, 60)
    assert partitions(settings) == ("compute", "gpu", "big")
