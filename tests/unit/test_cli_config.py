"""`sampan config`: show, check, set, schema, reference, as people run them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sampan_hub.cli.main import main
from sampan_hub.settings.reference import make_schema, render_reference

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SAMPAN_CONFIG", raising=False)
    return tmp_path


def run(*words: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["config", *words])
    assert result.exit_code == exit_code, (result.stdout, result.stderr)
    return result


def test_show_says_the_file_and_masks_secrets(folder: Path) -> None:
    assert run("show").stdout.startswith("# No settings file: all values are defaults.\nprofile: laptop\n")
    (folder / "sampan.yaml").write_text("database: postgresql://ana:hunter2@db/x\n")
    shown = run("show").stdout
    assert shown.startswith(f"# From {folder}/sampan.yaml, completed with defaults.\n")
    assert "database: '**********'" in shown
    assert "default_size: small" in shown
    assert "hunter2" not in shown


def test_show_works_for_settings_that_would_be_refused(folder: Path) -> None:
    (folder / "sampan.yaml").write_text("url: http://192.0.2.1/\n")
    assert "url: http://192.0.2.1/" in run("show").stdout


def test_check_says_no_findings_or_all(folder: Path) -> None:
    assert run("check").stdout == "no findings\n"
    (folder / "sampan.yaml").write_text("profle: site\nidle: {cluster: x}\n")
    assert [line.split(" ")[0] for line in run("check", exit_code=1).stdout.splitlines()] == [
        "sampan.yaml:1:1",
        "sampan.yaml:2:17",
    ]
    (folder / "sampan.yaml").write_text("profile: site\n")
    assert "isolation" in run("check", exit_code=1).stdout
    (folder / "sampan.yaml").write_text("profile: site\nisolation: none\n")
    said = run("check").stdout.splitlines()
    assert said[0].startswith("warning: sampan.yaml:2:12 isolation – several people may share one system user")
    assert said[1] == "no findings"


def test_set_makes_the_file_private_and_then_keeps_what_is_in_it(folder: Path) -> None:
    file = folder / "sampan.yaml"
    run("set", "limits.user.cores", "8")
    assert file.read_text() == "limits:\n  user:\n    cores: 8\n"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("# mine\n" + file.read_text())
    run("set", "admins", "[ana, ben]")
    assert file.read_text() == "# mine\nlimits:\n  user:\n    cores: 8\nadmins: [ana, ben]\n"
    run("set", "profile", "site")
    assert "still to be put right: sampan.yaml:6:10 isolation" in run("set", "currency", "EUR").stderr


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("limits.user.coers", "8", "limits.user.coers – unknown key, did you mean 'cores'?"),
        ("limits.user.cores", "lots", "limits.user.cores – expected a number, got 'lots'"),
        ("profile.x", "1", "profile holds a value, not keys"),
        ("a..b", "1", "is not a key"),
        ("profile", "[", "while parsing a flow node"),
        ("database", "postgresql://ana:hunter2@db/x", "a secret on a command line is seen by others"),
        ("login", "{class: x, config: {client_secret: hunter2}}", "a secret on a command line is seen by others"),
        ("database", "{env: NOT_SET_ANYWHERE}", "the environment variable NOT_SET_ANYWHERE is not set"),
    ],
)
def test_set_refuses_and_leaves_the_file_alone(key: str, value: str, message: str, folder: Path) -> None:
    (folder / "sampan.yaml").write_text("profile: laptop\n")
    result = CliRunner().invoke(main, ["config", "set", key, value])
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert "was not changed" in result.stderr
    assert "hunter2" not in result.output
    assert (folder / "sampan.yaml").read_text() == "profile: laptop\n"


def test_set_repairs_a_wrong_file_one_key_at_a_time(folder: Path) -> None:
    file = folder / "sampan.yaml"
    file.write_text("profile: sites\nurl: 5\n")
    run("set", "profile", "site")
    assert file.read_text() == "profile: site\nurl: 5\n"


def test_set_writes_where_config_says(folder: Path) -> None:
    result = CliRunner().invoke(main, ["--config", "other.yaml", "config", "set", "currency", "EUR"])
    assert result.exit_code == 0, result.output
    assert (folder / "other.yaml").read_text() == "currency: EUR\n"


def test_a_folder_that_cannot_be_written_is_a_sentence(folder: Path) -> None:
    (folder / "sampan.yaml").mkdir()
    result = CliRunner().invoke(main, ["config", "set", "currency", "EUR"])
    assert result.exit_code == 1
    assert "sampan.yaml cannot be changed" in result.stderr


def test_schema_and_reference_are_printed() -> None:
    assert json.loads(run("schema").stdout) == make_schema()
    assert run("reference").stdout == render_reference()
