"""What tests of `sampan backup` and `sampan restore` have in common."""

from __future__ import annotations

from tests.support.installation import Installation

ROOM = "isolation: none\nbackends: {local: {kind: local, cores: 8, memory: 8G}}\nsizes: {s: {cores: 1, memory: 512M}}\n"


def end_up(site: Installation) -> None:
    """`sampan down`: jobs run on."""
    site.run("down")
    assert site.up is not None
    site.up.wait(20)


def refused(site: Installation, *words: str) -> str:
    """What it says, on one line, when it does not do it."""
    done = site.run(*words, check=False)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    return done.stderr.strip()
