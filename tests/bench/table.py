"""Rows to CSV and JSON (build/bench) and the tables of docs/benchmarks.md, in which no row is ever missing."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.row import Aim, Line, Row, Sample

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "build" / "bench"
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- table: begin (make {}) -->", "<!-- table: end -->"


def keep(row: Row) -> None:
    """One CSV with every repetition, and the row as it is for the next rendering."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{row.name}.json").write_text(json.dumps(asdict(row), indent=1) + "\n")
    with (RESULTS / f"{row.name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["measure", "unit", "side", "label", "repetition", "value"])
        for line in row.lines:
            for side, sample in (("sampan", line.ours), ("peer", line.peer)):
                for number, value in enumerate(sample.values if sample else (), start=1):
                    writer.writerow([line.measure, line.unit, side, sample.label if sample else "", number, value])


def kept(name: str) -> Row | None:
    """The row as last measured here; None when it never was."""
    try:
        content = json.loads((RESULTS / f"{name}.json").read_text())
    except FileNotFoundError:
        return None
    content["lines"] = [_line(line) for line in content["lines"]]
    return Row(**content)


def _line(content: dict[str, object]) -> Line:
    def sample(value: object) -> Sample | None:
        return Sample(value["label"], tuple(value["values"])) if isinstance(value, dict) else None

    aim = content["aim"]
    return Line(
        str(content["measure"]),
        str(content["unit"]),
        sample(content["ours"]),
        sample(content["peer"]),
        Aim(**aim) if isinstance(aim, dict) else None,
        str(content["problem"]),
    )


def render(names: Sequence[str], target: str = "bench") -> None:
    """Put the table of all rows that `make <target>` measures into the page, between its marks."""
    page = PAGE.read_text()
    begin = BEGIN.format(target)
    before, _, rest = page.partition(begin)
    if not rest:
        raise ValueError(f"{PAGE} has no place for a table: {begin}")
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{begin}\n{table(names, target)}\n{END}{after}")


def table(names: Sequence[str], target: str = "bench") -> str:
    """Markdown: a line for every measure, then how each row was measured."""
    head = [
        "| measure | Sampan: median (min–max) | peer: median (min–max) | ratio | aim | |",
        "|---|---|---|---|---|---|",
    ]
    lines, notes = [], []
    for name in names:
        row = kept(name)
        if row is None:
            lines.append(f"| {name} | – | – | – | – | not measured: `make {target}` has not been run |")
            continue
        lines += [_render(line) for line in row.lines]
        notes.append(_conditions(row))
    return "\n".join([*head, *lines, "", *notes])


def _render(line: Line) -> str:
    ratio = f"{line.ours.median / line.peer.median:.2f}" if line.ours and line.peer and line.peer.median else "–"
    aim = line.aim.text(line.unit) if line.aim else "–"
    cells = [line.measure, _spread(line.ours, line.unit), _spread(line.peer, line.unit, named=True), ratio, aim]
    return "| " + " | ".join([*cells, line.verdict]) + " |"


def _spread(sample: Sample | None, unit: str, *, named: bool = False) -> str:
    if sample is None:
        return "–"
    figure = _number(sample.median)
    if len(sample.values) > 1:
        figure += f" ({_number(min(sample.values))}–{_number(max(sample.values))})"
    return f"{sample.label.partition(': ')[0]}: {figure} {unit}" if named else f"{figure} {unit}"


def _number(value: float) -> str:
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _conditions(row: Row) -> str:
    repetitions = max((len(line.ours.values) for line in row.lines if line.ours), default=0)
    versions = ", ".join(f"{name} {version}" for name, version in row.versions.items())
    return (
        f"* `{row.name}`: {row.taken_at}, {repetitions} repetitions, {row.processors} cores, load average "
        f"{row.load_before:.1f} at the start and {row.load_after:.1f} at the end; {versions}. {row.note}".rstrip()
    )
