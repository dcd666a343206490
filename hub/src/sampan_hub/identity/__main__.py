"""`python -m sampan_hub.identity …`: JupyterHub, as `python -m jupyterhub …`, up in half the time.

More than half of the seconds that importing JupyterHub takes go into a grammar that jsonschema builds for one URI
format (`rfc3987_syntax`), which no event of JupyterHub has; without that package jsonschema goes without that format.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run JupyterHub until told to end."""
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # the documented way to make an import fail
    from jupyterhub.app import main as serve

    serve()


if __name__ == "__main__":
    main()
