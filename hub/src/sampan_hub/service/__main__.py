"""`python -m sampan_hub.service --port PORT [--config FILE]`: serves on 127.0.0.1 until told to end.

SIGTERM and SIGINT end this process and nothing else: jobs run on, and the next service finds them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sampan_hub.service.logs import configure_logs
from sampan_hub.service.server import Server, bind
from sampan_hub.service.start import StartError, make_context
from sampan_hub.settings.effective import effective_settings
from sampan_hub.settings.findings import SettingsError
from sampan_hub.settings.keyfiles import KeyFileError


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m sampan_hub.service", description="Sampan's compute service.")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument("--config", type=Path, help="settings file; default: $SAMPAN_CONFIG, else ./sampan.yaml")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Serve until told to end. 1: could not start, and standard error says why."""
    arguments = parse_arguments(argv)
    configure_logs(as_json=arguments.log_format == "json")
    try:
        settings = effective_settings(arguments.config)
        listener = bind(arguments.port)  # first: a second service beside a running one should touch nothing
        context = make_context(settings, arguments.port)
    except (SettingsError, KeyFileError, StartError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return Server(context, arguments.port).serve_until_told(listener)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
