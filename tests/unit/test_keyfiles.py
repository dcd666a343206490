"""Key files: whole, private, made once, and refused when others could have read them."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from sampan_hub.settings.keyfiles import KEY_FILES, KeyFileError, ensure_key_files, read_key
from sampan_hub.settings.paths import StatePaths


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path / "state")


def test_every_key_is_made_private_and_of_its_form(paths: StatePaths) -> None:
    previous = os.umask(0)
    try:
        ensure_key_files(paths)
    finally:
        os.umask(previous)
    assert sorted(path.name for path in paths.keys.iterdir()) == sorted(KEY_FILES)
    assert stat.S_IMODE(paths.keys.stat().st_mode) == 0o700
    for name in KEY_FILES:
        assert stat.S_IMODE(paths.key(name).stat().st_mode) == 0o600
        assert len(read_key(paths.key(name))) <= 64
    Fernet(read_key(paths.key("secrets.key")))
    cookie = read_key(paths.key("hub-cookie")).decode()
    assert len(cookie) == 64
    bytes.fromhex(cookie)


def test_what_exists_is_kept_and_what_is_missing_is_added(paths: StatePaths) -> None:
    ensure_key_files(paths)
    kept = read_key(paths.key("service.key"))
    paths.key("cli-token").unlink()
    ensure_key_files(paths)
    assert read_key(paths.key("service.key")) == kept
    assert read_key(paths.key("cli-token"))


def test_racing_makers_agree_on_one_whole_file(paths: StatePaths) -> None:
    def make(_: int) -> bytes:
        ensure_key_files(paths)
        return read_key(paths.key("signing.key"))

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(make, range(64)))) == 1
    assert sorted(path.name for path in paths.keys.iterdir()) == sorted(KEY_FILES)


def test_a_key_open_to_others_is_refused(paths: StatePaths) -> None:
    ensure_key_files(paths)
    paths.key("service.key").chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key(paths.key("service.key"))


def test_a_folder_open_to_others_is_refused(paths: StatePaths) -> None:
    paths.keys.mkdir(parents=True)
    paths.keys.chmod(0o755)
    with pytest.raises(KeyFileError, match="chmod 700"):
        ensure_key_files(paths)


def test_missing_empty_and_linked_keys_are_refused(paths: StatePaths, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="sampan up"):
        read_key(paths.key("service.key"))
    empty = tmp_path / "empty"
    empty.touch(0o600)
    with pytest.raises(KeyFileError, match="empty"):
        read_key(empty)
    ensure_key_files(paths)
    link = tmp_path / "link"
    link.symlink_to(paths.key("service.key"))
    with pytest.raises(KeyFileError, match="cannot be read"):
        read_key(link)
