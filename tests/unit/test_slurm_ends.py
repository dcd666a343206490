"""What counts as the end of a job, what is remembered of it, and how seldom accounting is asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from sampan_hub.backends.base import BackendError, Expected, Observed, Phase
from sampan_hub.backends.slurm.accounting import Record, parse_records
from sampan_hub.backends.slurm.commands import Commands
from sampan_hub.backends.slurm.ends import Ends
from sampan_hub.backends.slurm.evidence import HOLD, Absent, judge_absent, judge_ended, judge_number, read_wait_status
from sampan_hub.backends.slurm.journal import Entry, Journal
from sampan_hub.backends.slurm.names import BLOCK, JobName
from sampan_hub.backends.slurm.sighting import Sighting, find_doubles
from sampan_hub.jobs.model import Exit, Reason, RunIdentity
from tests.unit.slurm_rows import BATCH, INSTANCE, NAME, NOW, make_row

LATER = NOW + timedelta(hours=1)


def record_line(
    job: str, state: str, *, raw: str = "", exit_: str = "0:0", started: bool = True, offset: int = 0
) -> str:
    raw = raw or job.partition("_")[0]
    begin = "2026-11-23T04:00:00" if started else "Unknown"
    end = "Unknown" if state in {"RUNNING", "PENDING"} else "2026-11-23T04:30:00"
    name = JobName(INSTANCE, BATCH, offset)
    return f"{job}|{raw}|{name}|alice|4001|{state}|{exit_}|{begin}|{end}||2G|60|node1\n"


def records(*lines: str) -> list[Record]:
    return parse_records("".join(lines), "slurm")


def sight(state: str, slurm_id: str = "9", **changes: object) -> Sighting:
    row = make_row(state, slurm_id, end=LATER, **changes)  # type: ignore[arg-type]
    task = int(slurm_id.partition("_")[2]) if "_" in slurm_id else None
    return Sighting(row, NAME, task, NAME.job_id(task), None)


def absent(task: int, base: int | None = 9) -> Absent:
    job_id = NAME.job_id(task)
    entry = Entry(job_id, "alice", "alice", "stage", task, base) if base is not None else None
    return Absent(job_id, BATCH, task, entry)


def test_an_end_waits_for_its_details_and_not_for_ever() -> None:
    sighting = sight("FAILED")
    held = judge_ended(sighting, [], False, LATER)
    assert (held.phase, held.ended_at, held.reason, held.exit) == (Phase.UNKNOWN, None, None, None)
    detailed = judge_ended(sighting, records(record_line("9", "FAILED", exit_="3:0")), False, LATER)
    assert (detailed.phase, detailed.exit) == (Phase.ENDED, Exit(code=3))
    late = judge_ended(sighting, [], True, LATER)
    assert (late.phase, late.ended_at, late.reason and late.reason.code) == (Phase.ENDED, LATER, "failed")


def test_a_record_of_another_run_tells_nothing_of_this_one() -> None:
    other = records(record_line("8", "COMPLETED"))
    assert judge_ended(sight("FAILED"), other, False, LATER).phase is Phase.UNKNOWN


@pytest.mark.parametrize(
    ("lines", "phase"),
    [
        ((), None),
        ((record_line("9_3", "COMPLETED", raw="12"),), Phase.ENDED),
        ((record_line("9_3", "RUNNING", raw="12"),), Phase.RUNNING),
        ((record_line("9_[3-7]", "PENDING", raw="9", started=False),), None),
        ((record_line("9_[3-7]", "CANCELLED by 4001", raw="9", started=False),), Phase.ENDED),
        ((record_line("9_[4-7]", "CANCELLED by 4001", raw="9", started=False),), None),
        # a copy that somebody made of it has ended
        ((record_line("8_3", "CANCELLED", raw="8"),), None),
        # others of the array prove nothing by themselves: accounting lags
        ((record_line("9_4", "COMPLETED", raw="13"), record_line("9_2", "RUNNING", raw="11")), None),
        # the array's number went to its last task: nothing of it waits any more, and this task never began
        ((record_line("9_7", "RUNNING", raw="9"),), Phase.ENDED),
    ],
    ids=["nothing", "ended", "runs", "may wait", "all cancelled", "others", "copy", "lag", "struck off"],
)
def test_what_is_absent_ends_by_evidence_only(lines: tuple[str, ...], phase: Phase | None) -> None:
    seen = judge_absent(absent(3), records(*lines), frozenset(), LATER)
    assert (seen and seen.phase) == phase


def test_of_several_records_a_living_one_is_believed() -> None:
    both = records(record_line("8_3", "CANCELLED", raw="8"), record_line("9_3", "RUNNING", raw="12"))
    seen = judge_absent(absent(3, base=None), both, frozenset(), LATER)
    assert seen is not None
    assert seen.phase is Phase.RUNNING


def test_a_task_struck_off_a_waiting_array_has_ended() -> None:
    """The controller shows the array's number, so all that waits of it, and this task is not among it."""
    waiting = records(record_line("9_[3-7]", "PENDING", raw="9", started=False))
    struck = judge_absent(absent(3), waiting, {(BATCH, "9")}, LATER)
    assert struck is not None
    assert (struck.phase, struck.owner, struck.reason and struck.reason.code) == (Phase.ENDED, "alice", "cancelled")
    assert judge_absent(absent(3, base=None), waiting, {(BATCH, "9")}, LATER) is None
    assert judge_absent(absent(3, base=8), waiting, {(BATCH, "9")}, LATER) is None


@pytest.mark.parametrize(
    ("base", "next_number", "is_lost"),
    [(9, 9, True), (9, 5, True), (9, 10, False), (67_000_000, 5, False), (None, 5, False)],
)
def test_a_number_that_the_controller_is_yet_to_give_was_lost(
    base: int | None, next_number: int, is_lost: bool
) -> None:
    lost = judge_number(absent(3, base=base), next_number, LATER)
    assert (lost is not None) == is_lost
    assert lost is None or (lost.phase, lost.reason and lost.reason.code) == (Phase.ENDED, "lost-by-slurm")


@pytest.mark.parametrize(
    ("status", "exit_"),
    [("0", Exit(code=0)), ("768", Exit(code=3)), ("9", Exit(signal=9)), ("15", Exit(signal=15)), ("253", Exit())],
)
def test_exits_as_squeue_prints_them(status: str, exit_: Exit) -> None:
    assert read_wait_status(status) == exit_


def test_several_living_jobs_of_one_key_are_told() -> None:
    rows = [sight("RUNNING", "9"), sight("PENDING", "10"), sight("CANCELLED", "11")]
    (told,) = find_doubles(rows)
    assert "9 of alice" in told
    assert "10 of alice" in told
    assert list(find_doubles(rows[1:])) == []


class Answers(Commands):
    """Commands that answer as told, and count."""

    def __init__(self, **answers: str | Exception) -> None:
        super().__init__("slurm", Path("/nonexistent"))
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    async def run(self, program: str, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
        self.asked.append((program, *arguments))
        answer = self.answers[program]
        if isinstance(answer, Exception):
            raise answer
        return answer


def expected(*tasks: int) -> list[Expected]:
    return [Expected(NAME.job_id(task), BATCH, task, NOW) for task in tasks]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.sqlite")


async def test_many_ends_are_one_question(journal: Journal) -> None:
    commands = Answers(sacct=record_line("9", "COMPLETED") + record_line("20", "FAILED", offset=5, exit_="1:0"))
    ends = Ends("slurm", commands, journal, INSTANCE)
    found = await ends.find_by_accounting([sight("COMPLETED")], expected(5, 6), frozenset(), LATER, BLOCK)
    assert len(commands.asked) == 1
    names = next(argument for argument in commands.asked[0] if argument.startswith("--name="))
    assert names.count(",") == 2  # 0 (alone and the array), 5 and 6 alone
    assert {raw_id: seen.job_id for raw_id, seen in found.ended} == {"9": NAME.job_id(None), "20": NAME.job_id(5)}


async def test_accounting_is_asked_ever_more_seldom_for_the_same_job(journal: Journal) -> None:
    commands = Answers(sacct="")
    ends = Ends("slurm", commands, journal, INSTANCE)
    for second in range(600):
        now = LATER + timedelta(seconds=second)
        found = await ends.find_by_accounting([], expected(3), frozenset(), now, BLOCK)
        assert (found.ended, found.others) == ([], [])
    assert 10 <= len(commands.asked) <= 20


async def test_an_answer_is_kept_between_two_questions(journal: Journal) -> None:
    commands = Answers(sacct=record_line("9_3", "RUNNING", raw="12"))
    ends = Ends("slurm", commands, journal, INSTANCE)
    for second in range(5):
        now = LATER + timedelta(seconds=second)
        found = await ends.find_by_accounting([], expected(3), frozenset(), now, BLOCK)
        assert [seen.phase for seen in found.others] == [Phase.RUNNING]
    assert len(commands.asked) < 5


async def test_without_an_answer_ends_are_told_late_and_absence_never(journal: Journal) -> None:
    commands = Answers(sacct=BackendError("sacct failed"), squeue=BackendError("squeue failed"))
    ends = Ends("slurm", commands, journal, INSTANCE)
    first = await ends.find_by_accounting([sight("FAILED")], expected(3), frozenset({(BATCH, "9")}), LATER, BLOCK)
    assert (first.ended, [seen.phase for seen in first.others]) == ([], [Phase.UNKNOWN])
    assert first.is_waiting
    assert first.trouble == "sacct failed"
    late = await ends.find_by_accounting([sight("FAILED")], expected(3), frozenset({(BATCH, "9")}), LATER + HOLD, BLOCK)
    assert [seen.job_id for _, seen in late.ended] == [NAME.job_id(None)]
    assert not late.is_waiting


async def test_an_end_that_accounting_never_tells_has_the_controllers_exit_code(journal: Journal) -> None:
    sighting = sight("FAILED")
    commands = Answers(sacct="", squeue=f"{sighting.row.raw_id} 768\n")
    ends = Ends("slurm", commands, journal, INSTANCE)
    await ends.find_by_accounting([sighting], [], frozenset(), LATER, BLOCK)
    late = await ends.find_by_accounting([sighting], [], frozenset(), LATER + HOLD, BLOCK)
    assert [seen.exit for _, seen in late.ended] == [Exit(code=3)]


async def test_what_the_controller_lost_has_ended(journal: Journal) -> None:
    """Whatever accounting says: there such a job runs for ever."""
    journal.remember([entry(3, 9)])
    commands = Answers(sacct=record_line("9_3", "RUNNING", raw="12"), scontrol="NEXT_JOB_ID = 7\n")
    found = await Ends("slurm", commands, journal, INSTANCE).find_by_accounting([], expected(3), [], LATER, BLOCK)
    assert [seen.reason and seen.reason.code for _, seen in found.ended] == ["lost-by-slurm"]
    commands.answers["scontrol"] = BackendError("scontrol failed")
    found = await Ends("slurm", commands, journal, INSTANCE).find_by_accounting([], expected(3), [], LATER, BLOCK)
    assert [seen.phase for seen in found.others] == [Phase.RUNNING]


async def test_what_we_cancelled_needs_no_details(journal: Journal) -> None:
    ends = Ends("slurm", Answers(sacct=""), journal, INSTANCE)
    sighting = sight("CANCELLED")
    found = await ends.find_by_accounting([sighting], [], frozenset(), LATER, BLOCK, {sighting.job_id})
    assert [seen.job_id for _, seen in found.ended] == [sighting.job_id]


async def test_without_accounting_the_controller_tells_exit_codes(journal: Journal) -> None:
    commands = Answers(squeue=(Path(__file__).with_name("slurm_golden") / "statuses.txt").read_text())
    ends = Ends("slurm", commands, journal, INSTANCE)
    found = await ends.find_by_status([sight("FAILED", "7"), sight("CANCELLED", "2", node="")], LATER)
    assert [seen.exit for _, seen in found.ended] == [Exit(code=3), None]
    assert (await ends.find_by_status([], LATER)).ended == []
    assert len(commands.asked) == 1


END = Observed(
    job_id=NAME.job_id(3),
    phase=Phase.ENDED,
    owner="alice",
    run=RunIdentity("12:0"),
    reason=Reason("failed", "The job ended with exit code 3."),
    started_at=NOW,
    ended_at=LATER,
    exit=Exit(code=3, peak_memory_bytes=5000),
)


def entry(task: int, base: int | None = None) -> Entry:
    return Entry(NAME.job_id(task), "alice", "alice", "stage", task, base)


def test_the_journal_remembers_over_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    assert (tmp_path / "journal.sqlite").stat().st_mode & 0o777 == 0o600
    journal.remember([entry(3), entry(4)])
    journal.remember([entry(3, 9)])
    journal.note_end([("12", END)])
    journal.close()
    again = Journal(tmp_path / "journal.sqlite")
    assert again.find(END.job_id) == entry(3, 9)
    assert entry(3, 9).slurm_id == "9_3"
    assert list(again.ends()) == [END]
    assert again.end_of(END.job_id, "12") == END
    assert again.end_of(END.job_id, "13") is None


def test_a_number_that_is_known_stays(journal: Journal) -> None:
    journal.remember([entry(3, 9)])
    journal.remember([entry(3, 10)])
    journal.remember([entry(3)])
    assert journal.find(NAME.job_id(3)) == entry(3, 9)


def test_a_stage_goes_with_its_last_job(journal: Journal) -> None:
    journal.remember([entry(task) for task in range(3)])
    ids = [NAME.job_id(task) for task in range(3)]
    assert journal.stages_without(ids[:2]) == {}
    journal.drop(ids[:2])
    assert journal.stages_without([ids[2], "unknown"]) == {"alice": ["stage"]}
    journal.drop(ids)
    assert journal.find(ids[2]) is None
