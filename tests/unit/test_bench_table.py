"""The table of measures tells what was found: medians, spread, ratio, whether the aim was met, and why not measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import table
from tests.bench.row import Aim, Line, Row, Sample

OURS = Sample("sampan", (1.0, 3.0, 2.0))
PEER = Sample("peer", (4.0, 4.0, 4.0))


@pytest.mark.parametrize(
    ("aim", "is_met"),
    [
        (Aim(0.5, times_peer=True), True),
        (Aim(0.4, times_peer=True), False),
        (Aim(2), True),
        (Aim(1.9), False),
        (Aim(2, at_least=True), True),
        (Aim(0.6, times_peer=True, at_least=True), False),
    ],
)
def test_an_aim_is_judged_by_medians(aim: Aim, is_met: bool) -> None:
    assert aim.is_met(OURS, PEER) is is_met


def test_without_a_peer_there_is_no_verdict_on_a_ratio() -> None:
    assert Aim(0.5, times_peer=True).is_met(OURS, None) is None


def test_every_row_is_in_the_table_measured_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(table, "PAGE", tmp_path / "page.md")
    table.PAGE.write_text(f"before\n{table.BEGIN.format('bench')}\nold\n{table.END}\nafter\n")
    lines = [
        Line("start", "s", OURS, PEER, Aim(0.4, times_peer=True)),
        Line("more", "s", problem="it would not run"),
    ]
    table.keep(Row("one", lines, {"dask": "1"}, 0.5, 1.5, "today", 2))
    table.render(["one", "two"])
    page = table.PAGE.read_text()
    assert "| start | 2 (1–3) s | peer: 4 (4–4) s | 0.50 | ≤ 0.4 × | **not met** |" in page
    assert "not measured: it would not run" in page
    assert "| two | – | – | – | – | not measured: `make bench` has not been run |" in page
    assert "3 repetitions, 2 cores, load average 0.5 at the start and 1.5 at the end; dask 1" in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    assert (tmp_path / "results" / "one.csv").read_text().count("\n") == 7
