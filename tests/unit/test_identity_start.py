"""The hub is started without the import that is over half of its start and that it never uses."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
sys.argv = ["hub", "--version"]
from sampan_hub.identity.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print([name for name in sys.modules if name.startswith("rfc3987_syntax.")])
"""


def test_no_grammar_is_built_for_a_format_that_nobody_has() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", CODE], capture_output=True, text=True, check=True, timeout=60)
    version, modules = done.stdout.splitlines()
    assert version.startswith("6."), done.stdout
    assert modules == "[]"
