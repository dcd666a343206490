"""Whose home it is matters to what is imported there only where somebody set something."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan import forkserver


def test_an_empty_home_is_anybodys(tmp_path: Path) -> None:
    assert not forkserver.reads_home(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "is_read"),
    [
        ("jobqueue.yaml", "# jobqueue:\n\n#   slurm:\n  # name: dask-worker\n", False),
        ("distributed.yaml", "distributed:\n  scheduler:\n    bandwidth: 1\n", True),
        ("more.yml", "# a comment\ntemporary-directory: /scratch\n", True),
        ("some.json", "{}", True),
        ("notes.txt", "none of Dask's", False),
        ("latin.yaml", b"name: \xe9\n", True),
    ],
)
def test_settings_of_dask_are_somebodys(tmp_path: Path, name: str, content: str | bytes, is_read: bool) -> None:
    folder = tmp_path / ".config" / "dask"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert forkserver.reads_home(str(tmp_path)) is is_read
