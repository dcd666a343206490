"""Forty first hours at once (eight in `make test`; `make class`: CLASS_SIZE=40), and one who comes too late."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.browser.people import CHROMIUM
from tests.support.classroom import LESSON, Classroom, Report, Student, everybody, running_class, student_names

SIZE = int(os.environ.get("CLASS_SIZE", "8"))
PATIENCE_S = 60 + 15 * SIZE
REPORT = Path(__file__).parents[2] / "build" / "class.txt"


@pytest.mark.timeout(4 * PATIENCE_S)
async def test_a_class_opens_its_lesson_computes_and_a_late_comer_waits(tmp_path: Path) -> None:
    with running_class(tmp_path, SIZE) as room:
        *names, late = student_names(SIZE + 1)
        async with room.students([*names, late]) as (*students, last):
            report = await run_lesson(room, students)
            assert not report.failures, report.text()
            assert all(times.file_open and times.result for times in report.times), report.text()
            await no_second_server(students)
            await late_comer_waits_and_runs(last, students[0])
            report.statuses = sum((student.statuses for student in [*students, last]), start=report.statuses)
            publish(report)
            assert report.statuses[429] == 0


async def run_lesson(room: Classroom, students: list[Student]) -> Report:
    """Everybody opens the link at once, then everybody computes at once; the first of them in a real browser."""
    report = Report([student.times for student in students], load_before=os.getloadavg()[0])
    names = [student.name for student in students]
    async with asyncio.timeout(PATIENCE_S):
        opening = [in_browser(room, students[0]), *(student.open_lesson() for student in students[1:])]
        report.failures += await everybody(opening, names, "open the lesson")
    computing = [student.compute(number, PATIENCE_S) for number, student in enumerate(students)]
    report.failures += await everybody(computing, names, "compute")
    report.memory_bytes = room.memory_bytes()
    return report


async def in_browser(room: Classroom, student: Student) -> None:
    """Link, form, and the lesson is open in JupyterLab; the same after a reload."""
    assert CHROMIUM.exists(), "the class needs Debian's chromium: apt-get install chromium"
    begun_s = asyncio.get_running_loop().time()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"],
        )
        page: Page = await browser.new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        page.on("response", lambda response: student.statuses.update([response.status]))
        await page.goto(room.link_of(student.name))
        await page.get_by_role("button", name="Start").click()
        tab = page.locator("#jp-main-dock-panel .lm-TabBar-tab", has_text=LESSON)
        await expect(tab).to_be_visible(timeout=PATIENCE_S * 1000)
        student.times.file_open = asyncio.get_running_loop().time() - begun_s
        await page.reload()
        await expect(tab).to_be_visible(timeout=PATIENCE_S * 1000)
        await browser.close()


async def no_second_server(students: list[Student]) -> None:
    """A reload of the link leads to the same server."""
    before = [await servers(student) for student in students]
    failures = await everybody([student.reload() for student in students[1:]], [s.name for s in students[1:]], "reload")
    assert not failures, failures
    assert [await servers(student) for student in students] == before
    assert [len(ids) for ids in before] == [1] * len(students)


async def servers(student: Student) -> list[str]:
    return [job["id"] for job in await student.jobs() if job["kind"] == "notebook"]


async def late_comer_waits_and_runs(late: Student, leaver: Student) -> None:
    """The machine is full: the one who comes last reads why and which place, and is served when somebody leaves."""
    page = await late.ask_for_server()
    assert "spawn" in page
    async with asyncio.timeout(PATIENCE_S):
        async for message in late.messages():
            if "place 1" in message.get("message", ""):
                break
    assert "Waiting for room on the machine" in message["message"]
    waiting = [(job["state"], job["position"]) for job in await late.jobs()]
    assert waiting == [("accepted", 1)]
    await leaver.stop_server()
    async with asyncio.timeout(PATIENCE_S):
        await late.wait_for_server()
        await late.pull_course()


def publish(report: Report) -> None:
    """For whoever ran it, and in build/class.txt."""
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(f"class of {SIZE}\n{report.text()}\n")
    print(f"\n{REPORT.read_text()}")
