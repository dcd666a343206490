"""The `sampan` command itself: light to start, the same for every subcommand, and no traceback for people."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from sampan_hub.cli.main import SUBCOMMANDS, main

HEAVY = ("pydantic", "ruamel", "sqlalchemy", "fastapi", "jupyterhub", "rich", "uvicorn", "cryptography", "aiohttp")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["--config", "{}", "config", "check"],
        ["config", "--config", "{}", "check"],
        ["config", "check", "--config", "{}"],
    ],
)
def test_the_settings_file_is_named_anywhere(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("profle: site\n")
    said = CliRunner().invoke(main, [word.format(file) for word in words])
    assert said.exit_code == 1
    assert "other.yaml:1:1 profle" in said.output


def test_help_names_every_subcommand_and_imports_none() -> None:
    program = (
        "import sys\n"
        "from sampan_hub.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for name in SUBCOMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_is_there_and_takes_config(name: str) -> None:
    module, function = SUBCOMMANDS[name].target.split(":")
    assert isinstance(getattr(importlib.import_module(module), function), click.Command)
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert result.output.count("--config") == 1


def test_a_misspelt_subcommand_is_answered_with_the_right_one() -> None:
    result = CliRunner().invoke(main, ["chek"])
    assert result.exit_code == 2
    assert "There is no command 'chek'. Did you mean `sampan check`?" in result.output
    assert "`sampan --help` lists all" in CliRunner().invoke(main, ["xyzzy"]).output


@pytest.mark.parametrize("words", [["--config", "a.yaml", "config", "show"], ["config", "--config", "a.yaml", "show"]])
def test_config_is_understood_before_and_after_the_subcommand(words: list[str], folder: Path) -> None:
    (folder / "a.yaml").write_text("currency: EUR\n")
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "currency: EUR" in result.output
    assert f"# From {folder}/a.yaml" in result.output


@pytest.mark.parametrize("words", [["config", "show"], ["jobs"], ["pause", "x"], ["resume"]])
def test_wrong_settings_are_all_said_and_exit_2(words: list[str], folder: Path) -> None:
    (folder / "sampan.yaml").write_text("profle: x\nurl: 5\n")
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        "sampan.yaml:1:1 profle – unknown key, did you mean 'profile'?\n"
        "sampan.yaml:2:6 url – expected text, got 5 (write '5' in quotes)\n"
    )


def test_a_missing_settings_file_is_one_sentence(folder: Path) -> None:
    result = CliRunner().invoke(main, ["--config", "nowhere.yaml", "jobs"])
    assert result.exit_code == 2
    assert result.stderr.startswith("nowhere.yaml – cannot be read: No such file or directory. Remedy:")


def test_before_the_first_start_commands_say_so(folder: Path) -> None:
    for words in (["jobs"], ["pause", "x"], ["resume"]):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 1
        assert "run `sampan up`" in result.stderr


def test_an_error_of_the_system_is_a_sentence(folder: Path) -> None:
    (folder / ".sampan").write_text("a file where a folder should be")
    result = CliRunner().invoke(main, ["jobs"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
