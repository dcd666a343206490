"""A first login: what is laid out where, once, and over nothing."""

from __future__ import annotations

from pathlib import Path

from sampan.lab.first import begin, is_first, lay_out, mark_path

OURS = {path.name for path in (Path(__file__).parents[2] / "examples").glob("*.ipynb")}


def test_the_examples_are_laid_out_once(tmp_path: Path) -> None:
    folder, mark = tmp_path / "work", tmp_path / "state" / "ana"
    folder.mkdir()
    assert begin(mark, folder) == "start.ipynb"
    laid = {path.relative_to(folder).as_posix() for path in folder.rglob("*.ipynb")}
    assert laid == {"start.ipynb", *(f"examples/{name}" for name in OURS - {"start.ipynb"})}
    (folder / "start.ipynb").unlink()
    assert begin(mark, folder) is None
    assert not (folder / "start.ipynb").exists(), "what somebody deleted does not come back"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    for name in ("start.ipynb", "examples/flights.ipynb"):
        (tmp_path / name).write_text("mine")
    assert lay_out(tmp_path) == "start.ipynb"
    assert (tmp_path / "start.ipynb").read_text() == (tmp_path / "examples" / "flights.ipynb").read_text() == "mine"
    assert (tmp_path / "examples" / "larger-than-memory.ipynb").exists()


def test_a_clone_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "start.ipynb").write_text("{}")
    assert lay_out(tmp_path) == "examples/start.ipynb"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "examples" / "start.ipynb"]


def test_only_a_laptop_has_first_logins(tmp_path: Path) -> None:
    assert not is_first({"JUPYTERHUB_USER": "ana"})
    laptop = {"JUPYTERHUB_USER": "ana/../ben", "SAMPAN_FIRST_LOGINS": str(tmp_path)}
    assert is_first(laptop)
    mark = mark_path(laptop)
    assert mark is not None
    assert mark.parent == tmp_path
    mark.touch()
    assert not is_first(laptop)
