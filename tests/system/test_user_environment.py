"""`%pip install` in a notebook: the next worker imports the package, the hub's environment does not change."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp
import pytest

from tests.support.kernels import Kernel
from tests.support.servers import running_server

NAME = "sampan_test_parcel"
CLUSTER = f"""
from sampan import Cluster
with Cluster(1) as cluster:
    print(cluster.get_client().submit(lambda: __import__("{NAME}").CONTENT).result())
"""


def make_wheel(folder: Path) -> Path:
    """A package of one line."""
    wheel = folder / f"{NAME}-1.0-py3-none-any.whl"
    about = f"{NAME}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{NAME}.py", "CONTENT = 'delivered'\n")
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return wheel


def can_hub_import(name: str) -> bool:
    """Whether the hub's own Python, asked anew, has the module."""
    return subprocess.run([sys.executable, "-c", f"import {name}"], capture_output=True, check=False).returncode == 0


@pytest.mark.timeout(240)
async def test_what_a_notebook_installs_reaches_workers_and_not_the_hub(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    with running_server(tmp_path) as server:
        async with aiohttp.ClientSession() as http:
            kernel = await Kernel.start(http, server.url, server.token)
            try:
                said = (await kernel.execute(f"%pip install --no-index --no-deps {wheel}", timeout_s=90)).checked()
                assert f"Successfully installed {NAME.replace('_', '-')}" in said.text.replace("_", "-")
                assert (await kernel.execute(CLUSTER, timeout_s=90)).checked().text.strip() == "delivered"
                assert not await asyncio.to_thread(can_hub_import, NAME)
            finally:
                await kernel.execute(f"%pip uninstall --yes {NAME}", timeout_s=90)
