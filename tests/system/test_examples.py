"""The example notebooks, cell by cell, in a kernel of a real server that the real hub started."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.kernels import Kernel, Result
from tests.support.servers import Server, running_server

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("examples")) as running:
        yield running


def read_cells(name: str) -> list[str]:
    """The code cells of an example, which is committed without outputs."""
    notebook = json.loads((EXAMPLES / f"{name}.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    return ["".join(cell["source"]) for cell in cells]


async def run(server: Server, name: str, timeout_s: float = 120) -> list[Result]:
    """What every code cell gave back; the first error fails."""
    async with aiohttp.ClientSession() as http:
        kernel = await Kernel.start(http, server.url, server.token)
        results = [(await kernel.execute(cell, timeout_s)).checked() for cell in read_cells(name)]
        async with http.delete(
            f"{server.url}/api/kernels/{kernel.id}", headers={"Authorization": f"token {server.token}"}
        ) as answer:
            assert answer.status == 204
    return results


def numbers(text: str) -> dict[str, int]:
    """Label -> number for every printed line that ends in one."""
    found = re.findall(r"^\s*(.+?)\s+([\d,]+)$", text, re.MULTILINE)
    return {label: int(number.replace(",", "")) for label, number in found}


@pytest.mark.timeout(300)
async def test_start(server: Server) -> None:
    results = await run(server, "start")
    assert results[0].value == str(sum(n * n for n in range(1000)))
    assert "3.14" in results[2].value
    assert await asyncio.to_thread(server.clusters) == []


@pytest.mark.timeout(300)
async def test_flights(server: Server) -> None:
    results = await run(server, "flights")
    totals = next(numbers(result.text) for result in results if "never departed" in result.text)
    assert totals == {
        "flights": 336_776,
        "from EWR": 120_835,
        "from JFK": 111_279,
        "from LGA": 104_662,
        "miles": 350_217_607,
        "never departed": 8_255,
    }
    assert await asyncio.to_thread(server.clusters) == []


@pytest.mark.timeout(300)
async def test_larger_than_memory(server: Server) -> None:
    results = await run(server, "larger-than-memory")
    printed = "".join(result.text for result in results)
    worker, array, peak = (float(number) for number in re.findall(r"([\d.]+) GiB", printed))
    assert array > worker
    assert peak < worker
    assert "mean 10.000, standard deviation 2.000" in printed
    assert await asyncio.to_thread(server.clusters) == []
