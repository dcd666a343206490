"""With what a job begins: a private file, or, in a pod, a variable without a secret and the token beside it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan._job import read_bootstrap
from sampan.errors import SampanError

ABOUT = {"service": "https://proxy-public/services/sampan/", "job": "k7c2m4qa.bcdefgh234567abc", "ca": "PEM"}


@pytest.fixture
def job_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "job"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("SAMPAN_JOB_DIR", str(folder))
    monkeypatch.delenv("SAMPAN_BOOTSTRAP", raising=False)
    return folder


def test_a_private_file_holds_everything(job_dir: Path) -> None:
    path = job_dir / "bootstrap.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps({**ABOUT, "credential": "batch.bootstrap.mac", "network": "10.88.0.0/24"}))
    access = read_bootstrap()
    assert (access.service, access.job) == ("https://proxy-public/services/sampan", ABOUT["job"])
    assert (access.credential, access.ca, access.network) == ("batch.bootstrap.mac", "PEM", "10.88.0.0/24")
    path.chmod(0o644)
    with pytest.raises(SampanError, match="open to other users"):
        read_bootstrap()


def test_a_pod_finds_its_token_in_a_file(job_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    monkeypatch.setenv("SAMPAN_BOOTSTRAP", json.dumps({**ABOUT, "credential_file": str(token)}))
    with pytest.raises(SampanError, match="token cannot be read"):
        read_bootstrap()
    token.write_text("header.claims.signature\n")
    token.chmod(0o440)
    access = read_bootstrap()
    assert (access.job, access.credential, access.ca) == (ABOUT["job"], "header.claims.signature", "PEM")
    assert access.network is None
    assert "signature" not in repr(access)
