"""The commands' answers, read strictly: golden answers of a real Slurm 22.05, and everything else that may come."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan_hub.backends.base import BackendError, Phase
from sampan_hub.backends.slurm import capacity
from sampan_hub.backends.slurm.accounting import explain_end, make_arguments, make_exit, parse_records
from sampan_hub.backends.slurm.configuration import Configuration, parse_configuration
from sampan_hub.backends.slurm.listing import Row, make_positions, make_variables, parse_listing
from sampan_hub.backends.slurm.names import JobName
from sampan_hub.jobs.model import Exit, Resources
from tests.unit.slurm_rows import BATCH, INSTANCE, NOW, make_row

GOLDEN = Path(__file__).with_name("slurm_golden")
WORD = "w0rdw0rd"
"""The word of the recorded answer; a real one is drawn for each call."""


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.txt").read_text()


def rows() -> dict[str, Row]:
    return {row.slurm_id: row for row in parse_listing(golden("squeue"), WORD, "slurm")}


def test_a_real_listing_is_read_whole() -> None:
    seen = rows()
    assert {slurm_id: row.state.name for slurm_id, row in seen.items()} == {
        "2": "CANCELLED",
        **{f"1_{task}": "FAILED" for task in range(3)},
        "5": "FAILED",
        "3": "OUT_OF_MEMORY",
        "6": "PENDING",
        **{f"4_{task}": "PENDING" for task in range(4, 9)},
        **{f"4_{task}": "RUNNING" for task in range(4)},
    }
    running = seen["4_3"]
    assert (running.raw_id, running.node, running.user, running.uid) == ("12", "node1", "alice", 4001)
    assert running.end == datetime(2026, 11, 23, 4, 13, 45, tzinfo=UTC)
    assert (seen["4_4"].raw_id, seen["4_4"].reason, seen["4_4"].start) == ("4", "Resources", None)
    assert seen["6"].reason == "JobHeldUser"


def test_what_others_write_into_comments_is_only_a_comment() -> None:
    assert rows()["2"].comment == "line1\nline2|x"
    assert rows()["3"].comment == ""


@pytest.mark.parametrize("cut", [1, 7, 100, 1000])
def test_half_a_listing_is_no_listing(cut: int) -> None:
    with pytest.raises(BackendError):
        parse_listing(golden("squeue")[:-cut], WORD, "slurm")
    with pytest.raises(BackendError):
        parse_listing(golden("squeue")[cut:], WORD, "slurm")


@given(at=st.integers(0, 4000), length=st.integers(1, 400))
def test_a_listing_with_a_hole_shows_nothing_that_was_not_there(at: int, length: int) -> None:
    """It is refused, or (a hole inside one field, or of whole lines) every state it shows is one it had."""
    text = golden("squeue")
    try:
        seen = parse_listing(text[:at] + text[at + length :], WORD, "slurm")
    except BackendError:
        return
    before = rows()
    for row in seen:
        if row.state.meaning.phase is Phase.ENDED and row.slurm_id in before:
            assert before[row.slurm_id].state.meaning.phase is Phase.ENDED


@given(st.text(max_size=400))
def test_noise_is_no_listing(text: str) -> None:
    if text:
        with pytest.raises(BackendError):
            parse_listing(text, WORD, "slurm")


@given(st.text(alphabet="w0rd\n|1 _", max_size=200))
def test_noise_out_of_its_own_word_raises_nothing_else(text: str) -> None:
    with contextlib.suppress(BackendError):
        assert parse_listing(text * 3, WORD, "slurm") is not None


def test_an_empty_cluster_is_an_answer() -> None:
    assert parse_listing("", WORD, "slurm") == []
    with pytest.raises(BackendError):
        parse_listing("\n", WORD, "slurm")


def test_a_forged_line_in_a_comment_stays_a_comment() -> None:
    """Whoever knew an old word, or the format, gets no further: the word is another each time."""
    forged = "other".join(["", "9", "9", "COMPLETED", ""])
    text = golden("squeue").replace("line1\nline2|x", f"x\n{forged}\n")
    assert len(parse_listing(text, WORD, "slurm")) == len(rows())


def test_the_word_is_in_no_command_line() -> None:
    assert make_variables("word")["SQUEUE_FORMAT"].startswith("word%iword%Aword")
    assert make_variables("word")["SQUEUE_FORMAT"].endswith("word%kword")


def test_positions_follow_slurms_priorities_in_each_partition() -> None:
    waiting = [
        make_row("PENDING", "1", priority=5),
        make_row("PENDING", "2_0", priority=9),
        make_row("PENDING", "2_1", priority=9),
        make_row("PENDING", "3", priority=1, partition="gpu"),
        make_row("RUNNING", "4", priority=99),
        make_row("PENDING", "5", priority=0),
    ]
    assert make_positions(waiting) == {"2_0": 1, "2_1": 2, "1": 3, "5": 4, "3": 1}


def test_real_accounting_says_how_jobs_ended() -> None:
    records = {
        (record.base, task): record for record in parse_records(golden("sacct"), "slurm") for task in record.tasks
    }
    failed = records[1, 0]
    assert make_exit(failed) == Exit(code=3, signal=None, peak_memory_bytes=3571712)
    assert explain_end(failed) is not None
    assert explain_end(failed).text == "The job ended with exit code 3."  # type: ignore[union-attr]
    killed = records[5, None]
    assert make_exit(killed) == Exit(code=None, signal=9, peak_memory_bytes=3604480)
    starved = records[3, None]
    assert make_exit(starved) == Exit(code=None, signal=None, peak_memory_bytes=3371008)
    assert explain_end(starved).text == (  # type: ignore[union-attr]
        "The job needed more than its 100 MiB of memory. Choose a bigger size."
    )
    assert explain_end(records[2, None]).text == "The job was cancelled in Slurm by root."  # type: ignore[union-attr]
    assert records[4, 5].tasks == tuple(range(3, 10))
    assert records[4, 0].state.meaning.phase is Phase.RUNNING
    assert records[4, 0].end is None


def _record(state: str, exit_: str = "0:0", uid: str = "4001") -> str:
    name = JobName(INSTANCE, BATCH, 0)
    return (
        f"7|7|{name}|alice|{uid}|{state}|{exit_}|2026-11-23T04:00:00|2026-11-23T05:00:00||2048M|90|node3\n"
        f"7.batch|7.batch|batch|||{state.split()[0]}|{exit_}|2026-11-23T04:00:00|2026-11-23T05:00:00|5000K|||node3\n"
    )


@pytest.mark.parametrize(
    ("state", "exit_", "code", "text"),
    [
        ("COMPLETED", "0:0", "finished", "The job finished."),
        ("FAILED", "78:0", "failed", "The job ended with exit code 78."),
        ("FAILED", "0:11", "killed", "The job was ended by signal 11."),
        ("TIMEOUT", "0:0", "walltime", "Its time was up: it ran for its whole walltime of 1 hour 30 minutes."),
        ("NODE_FAIL", "0:0", "node-failed", "The machine it ran on, node3, failed. Start it again."),
        ("CANCELLED by 0", "0:15", "cancelled", "The job was cancelled in Slurm by root."),
        ("CANCELLED by 4001", "0:15", "cancelled", "by the user with the id 4001, whose job it was."),
        ("OUT_OF_MEMORY", "0:125", "out-of-memory", "The job needed more than its 2048 MiB of memory."),
        ("PREEMPTED", "0:15", "preempted", "to make room"),
        ("BOOT_FAIL", "0:0", "boot-failed", "could not be started"),
        ("DEADLINE", "0:0", "deadline", "deadline"),
    ],
)
def test_every_end_has_its_sentence(state: str, exit_: str, code: str, text: str) -> None:
    (record,) = parse_records(_record(state, exit_), "slurm")
    reason = explain_end(record)
    assert reason is not None
    assert reason.code == code
    assert text in reason.text
    assert record.peak_memory_bytes == 5000 << 10


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_half_of_accounting_is_no_answer(cut: int) -> None:
    with pytest.raises(BackendError):
        parse_records(golden("sacct")[:-cut], "slurm")


@given(st.text(max_size=300))
def test_noise_is_no_accounting(text: str) -> None:
    if text:
        with pytest.raises(BackendError):
            parse_records(text, "slurm")


def test_accounting_is_asked_for_names_only_once() -> None:
    names = [JobName(INSTANCE, BATCH, offset) for offset in (0, 5, 0)]
    arguments = make_arguments(names, NOW)
    assert f"--name=sampan.{INSTANCE}.{BATCH}.0,sampan.{INSTANCE}.{BATCH}.5" in arguments
    assert "--starttime=2026-11-23T03:55:00" in arguments


def test_capacity_counts_every_node_once_and_only_what_takes_jobs() -> None:
    total, free = capacity.parse_capacity(golden("sinfo"), "slurm")
    assert total == free == Resources(16_000, 4 * 4000 << 20, 4)
    line = "n{} {} 4000 {} {} gpu:a100:2(S:0) gpu:a100:1(IDX:0)\n"
    text = (
        line.format(1, "1/3/0/4", 1000, "mixed")
        + line.format(2, "0/4/0/4", 0, "drained")
        + line.format(3, "0/4/0/4", 0, "idle*")
        + line.format(4, "0/0/4/4", 0, "down~")
        + line.format(5, "4/0/0/4", 4000, "allocated+")
    )
    total, free = capacity.parse_capacity(text, "slurm")
    assert total == Resources(20_000, 5 * 4000 << 20, 10)
    assert free == Resources(3_000, 3000 << 20, 2)


@given(st.text(max_size=200))
def test_noise_is_no_capacity(text: str) -> None:
    try:
        capacity.parse_capacity(text, "slurm")
    except BackendError:
        return
    assert text.strip() == ""


def test_named_partitions_are_asked_for_without_all() -> None:
    """sinfo refuses both together; a named partition is shown although it is hidden."""
    assert "--all" not in capacity.make_arguments(("compute", "gpu"))
    assert "--partition=compute,gpu" in capacity.make_arguments(("compute", "gpu"))
    assert "--all" in capacity.make_arguments(())


def test_the_configuration_says_what_decides() -> None:
    assert parse_configuration(golden("config")) == Configuration(has_accounting=True, block=1000)
    small = golden("config").replace("1001", "0").replace("storage/slurmdbd", "storage/none")
    assert parse_configuration(small) == Configuration(has_accounting=False, block=1)
    with pytest.raises(BackendError):
        parse_configuration("slurm_load_ctl_conf error")
