"""A job's output: capped on disk, both ends kept, readable whatever it contains."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sampan_hub.backends.base import BackendError, LogTail
from sampan_hub.backends.local import logs
from sampan_hub.backends.local.shim import output
from sampan_hub.backends.local.shim.output import Output
from tests.contract.local_jobs import LocalJobs, python


@pytest.fixture
async def jobs(tmp_path: Path) -> AsyncIterator[LocalJobs]:
    rig = LocalJobs(tmp_path / "jobs")
    yield rig
    await rig.close()


async def test_a_flood_of_100_mb_is_capped_and_keeps_both_ends(jobs: LocalJobs) -> None:
    code = "print('the first')\nfor i in range(1_000_000): print(f'{i:>99}')\nprint('the last')"
    job_id = await jobs.start(python(code))
    await jobs.until_ended(job_id, limit_s=60)
    size_bytes = sum(path.stat().st_size for path in jobs.folder(job_id).glob("output*"))
    assert size_bytes < output.HEAD_BYTES + 2 * output.SEGMENT_BYTES + 100
    tail = await jobs.backend.read_log(job_id, 1000)
    assert len(tail.lines) == 1000
    assert tail.truncated
    assert tail.lines[-1] == "the last"
    assert tail.lines[-2].strip() == "999999"
    whole = await jobs.backend.read_log(job_id, 10_000_000)
    assert whole.lines[0] == "the first"
    (mark,) = [line for line in whole.lines if line.startswith("[sampan: ")]
    cut_bytes = int(mark.split()[1])
    said_bytes = len("the first\n") + 1_000_000 * 100 + len("the last\n")
    assert cut_bytes + size_bytes - len(str(cut_bytes)) == said_bytes


async def test_a_flood_does_not_keep_a_stop_waiting(jobs: LocalJobs) -> None:
    job_id = await jobs.start(("sh", "-c", "exec yes"))
    await jobs.until_output(job_id, "y\ny")
    await jobs.backend.cancel([job_id])
    ended = await jobs.until_ended(job_id, limit_s=5)
    assert ended.reason is not None
    assert ended.reason.code == "stopped"


async def test_stdout_and_stderr_in_order_and_any_bytes(jobs: LocalJobs) -> None:
    code = "import os; os.write(1, b'one\\n'); os.write(2, b'two\\n'); os.write(1, b'\\xff\\x00three')"
    job_id = await jobs.start(python(code))
    await jobs.until_ended(job_id)
    assert await jobs.backend.read_log(job_id, 10) == LogTail(("one", "two", "\ufffd\x00three"), truncated=False)
    assert await jobs.backend.read_log(job_id, 2) == LogTail(("two", "\ufffd\x00three"), truncated=True)
    assert (await jobs.backend.read_log(job_id, 0)).lines == ()


async def test_a_job_that_closes_its_output_goes_on(jobs: LocalJobs) -> None:
    job_id = await jobs.start(("sh", "-c", "echo bye; exec >&- 2>&-; sleep 0.3; exit 4"))
    ended = await jobs.until_ended(job_id)
    assert ended.exit is not None
    assert ended.exit.code == 4
    assert (await jobs.backend.read_log(job_id, 1)).lines == ("bye",)


async def test_output_that_became_a_link_is_not_followed(jobs: LocalJobs) -> None:
    job_id = await jobs.start(("true",))
    await jobs.until_ended(job_id)
    log = jobs.folder(job_id) / "output.log"
    log.unlink()
    log.symlink_to("/etc/passwd")
    with pytest.raises(BackendError, match=job_id):
        await jobs.backend.read_log(job_id, 10)


async def test_a_job_that_is_not_here_has_no_output(jobs: LocalJobs) -> None:
    assert (await jobs.backend.read_log(f"{jobs.instance}.aaaaaaaaaaaaaaaa", 10)).lines == ()
    assert (await jobs.backend.read_log("../../etc/passwd", 10)).lines == ()


def test_segments_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "HEAD_BYTES", 4)
    monkeypatch.setattr(output, "SEGMENT_BYTES", 3)
    keep = Output(tmp_path)
    keep.write(b"headAAABBB")
    assert logs.read_tail(tmp_path, 9).lines == ("headAAABBB",)
    keep.write(b"CC")
    assert logs.read_tail(tmp_path, 9).lines == ("head", "[sampan: 3 bytes of output were cut here]", "BBBCC")


def test_a_full_disk_loses_output_and_says_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = Output(tmp_path)
    keep.write(b"before\n")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(output.os, "write", full)
        keep.write(b"lost")
    keep.write(b"after\n")
    assert (tmp_path / output.CUT).read_text() == "4"
    assert logs.read_tail(tmp_path, 9).lines[0] == "before"
