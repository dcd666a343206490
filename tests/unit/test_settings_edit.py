"""Changing one key of a settings file and nothing else in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan_hub.settings.edit import EditError, parse_key, with_key, write_text

FILE = """\
# our site
profile: site   # for everybody

limits:
    user:
        cores: 4  # each
    raised_by: 'the help desk'
admins:
  - ana
"""


def test_only_the_value_changes() -> None:
    assert with_key(FILE, ("limits", "user", "cores"), 8) == FILE.replace("cores: 4", "cores: 8")
    assert with_key(FILE, ("profile",), "laptop") == FILE.replace("site   #", "laptop #")


def test_missing_sections_are_made() -> None:
    assert with_key("", ("limits", "user", "cores"), 8) == "limits:\n  user:\n    cores: 8\n"
    assert "limits:\n  site:\n    jobs: 9" in with_key("limits:\n", ("limits", "site", "jobs"), 9)


def test_a_file_of_comments_keeps_them() -> None:
    assert with_key("# note\n", ("profile",), "site") == "# note\nprofile: site\n"


def test_a_value_is_no_section() -> None:
    with pytest.raises(EditError, match="profile holds a value, not keys"):
        with_key(FILE, ("profile", "x"), 1)
    with pytest.raises(EditError, match="the file holds no keys and values"):
        with_key("- a\n", ("x",), 1)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("profile", ("profile",)),
        ("limits.user.cores", ("limits", "user", "cores")),
        ("sizes.'a.b'.cores", ("sizes", "a.b", "cores")),
        ('limits.users."ana@example.org".cores', ("limits", "users", "ana@example.org", "cores")),
    ],
)
def test_keys(text: str, parts: tuple[str, ...]) -> None:
    assert parse_key(text) == parts


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "'a", "a.'b", "a'b'"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(EditError, match="is not a key"):
        parse_key(text)


def test_writing_keeps_the_mode_and_follows_links(tmp_path: Path) -> None:
    file = tmp_path / "real.yaml"
    file.write_text("a: 1\n")
    file.chmod(0o640)
    link = tmp_path / "sampan.yaml"
    link.symlink_to(file)
    write_text(link, "a: 2\n")
    assert link.is_symlink()
    assert file.read_text() == "a: 2\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["real.yaml", "sampan.yaml"]


def test_a_new_file_is_private(tmp_path: Path) -> None:
    write_text(tmp_path / "new.yaml", "a: 1\n")
    assert (tmp_path / "new.yaml").stat().st_mode & 0o777 == 0o600
