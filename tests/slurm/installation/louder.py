"""`sampan run NAME`, but the process that it becomes writes everything that it can into its log.

Run by the hub host's Python as `-c TEXT NAME`.
"""

from __future__ import annotations

import dataclasses
import sys

from sampan_hub.cli import run
from sampan_hub.cli.main import main
from sampan_hub.cli.supervise.commands import Command
from sampan_hub.cli.supervise.ports import Ports
from sampan_hub.cli.supervise.site import Site

SERVICE = (
    "import logging, runpy; usual = logging.basicConfig; "
    "logging.basicConfig = lambda **options: usual(**{**options, 'level': 'DEBUG'}); "
    "runpy.run_module('sampan_hub.service', run_name='__main__', alter_sys=True)"
)
LOUD = {
    "proxy": lambda argv: (*argv, "--log-level=debug"),
    "hub": lambda argv: (*argv, "--debug"),
    "service": lambda argv: (*argv[:2], "-c", SERVICE, *argv[4:]),
}
arrange = run.arrange


def arrange_louder(site: Site) -> tuple[Ports, dict[str, Command]]:
    ports, commands = arrange(site)
    return ports, {name: dataclasses.replace(each, argv=LOUD[name](each.argv)) for name, each in commands.items()}


run.arrange = arrange_louder
main(["run", sys.argv[1]])
