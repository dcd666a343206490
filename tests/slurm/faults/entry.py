"""The entry of light installations on the hub host, a program: `python -m tests.slurm.faults.entry FOLDER PORT`.

The file named as an installation in FOLDER/routes holds the port of its service.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from pathlib import Path

from tests.chaos.entry import Entry


class HubHostEntry(Entry):
    def __init__(self, folder: Path) -> None:
        self.routes = folder / "routes"

    def find_port(self, name: str) -> int:
        return int((self.routes / name).read_text())


async def main(folder: Path, port: int) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "entry.crt", folder / "entry.key")
    server = await HubHostEntry(folder).listen("0.0.0.0", port, context)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
