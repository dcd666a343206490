"""`sampan jobs`, `pause`, `resume` and `check` with the real service, run as `sampan up` runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from sampan_hub.cli.checks import running
from sampan_hub.cli.main import main
from sampan_hub.cli.supervise.http import NotAnswering, Reply, call
from sampan_hub.cli.supervise.ports import settle_ports
from sampan_hub.cli.supervise.prepare import ensure_state
from sampan_hub.cli.supervise.records import make_own_record, write_record
from sampan_hub.cli.supervise.site import Site, load_site
from sampan_hub.jobs.keys import make_credential
from sampan_hub.settings.keyfiles import read_key
from tests.support.installation import free_port, wait_until


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An installation of which the service runs, and neither proxy nor hub."""
    folder = tmp_path_factory.mktemp("site")
    port = free_port()
    (folder / "sampan.yaml").write_text(f"url: http://127.0.0.1:{port}/\nbackends: {{pretend: {{kind: fake}}}}\n")
    site = load_site(folder / "sampan.yaml")
    ensure_state(site)
    write_record(site.paths.run / "up.json", make_own_record("up"))
    ports = settle_ports(site.ports_file, port, set())
    service = [sys.executable, "-P", "-m", "sampan_hub.service", "--port", str(ports.service)]
    launch = [sys.executable, "-P", "-m", "sampan_hub.cli.supervise.launch", str(site.paths.run), "service", "x", "--"]
    config = ["--config", str(folder / "sampan.yaml")]
    with (site.paths.log / "service.log").open("wb") as log:
        process = subprocess.Popen([*launch, *service, *config], stdout=log, stderr=log)

    def is_ready() -> bool:
        assert process.poll() is None, (site.paths.log / "service.log").read_text()
        try:
            return call("GET", ports.service, "/services/sampan/readyz").is_ok
        except NotAnswering:
            return False

    try:
        wait_until(is_ready, 30, "the service")
        yield site
    finally:
        process.terminate()
        process.wait(15)


def run(site: Site, *words: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["--config", str(site.settings_file), *words])
    assert result.exit_code == exit_code, (result.stdout, result.stderr, result.exception)
    return result


def ask_as_hub(site: Site, owner: str, name: str) -> Reply:
    """Ask for a notebook, as the hub does."""
    ports = json.loads(site.ports_file.read_text())
    headers = {"Authorization": f"Bearer {make_credential(read_key(site.paths.key('service.key')), 'hub', 'hub')}"}
    base = {"kind": "notebook", "owner": owner}
    body = {"batch": f"batch-{owner}-{name}", "base": base, "items": [{"name": name}]}
    return call("POST", ports["service"], "/services/sampan/api/v1/jobs", headers, body)


def test_jobs_are_listed_until_they_have_ended(site: Site) -> None:
    assert run(site, "jobs").stdout == "no jobs\n"
    reply = ask_as_hub(site, "ana", "one")
    assert reply.is_ok, reply
    job_id = reply.body["items"][0]["job"]["id"]
    lines = run(site, "jobs").stdout.splitlines()
    assert lines[0].split() == ["job", "kind", "owner", "name", "size", "memory", "state", "for", "why"]
    assert lines[1].split()[:5] == [job_id, "notebook", "ana", "one", "small"]
    assert [job["id"] for job in json.loads(run(site, "jobs", "--json").stdout)["jobs"]] == [job_id]
    ports = json.loads(site.ports_file.read_text())
    stop = {"ids": [job_id], "reason": "asked"}
    assert call("POST", ports["service"], "/services/sampan/api/v1/jobs/stop", site.service_headers(), stop).is_ok
    wait_until(lambda: run(site, "jobs").stdout == "no jobs\n", 20, "the job's end")
    assert job_id in run(site, "jobs", "--all").stdout


def test_pause_refuses_new_work_with_the_sentence_until_resume(site: Site) -> None:
    assert run(site, "pause", "back  at\nnoon").stdout.startswith("paused: back at noon\n")
    assert run(site, "jobs").stdout.startswith("paused: back at noon\n")
    assert "back at noon" in json.dumps(ask_as_hub(site, "ben", "two").body)
    assert run(site, "resume").stdout == "new work is taken\n"
    assert "paused" not in run(site, "jobs").stdout


def test_a_pause_needs_one_sentence(site: Site) -> None:
    for sentence in ("", "  ", "x" * 501):
        assert "Say why in one sentence" in run(site, "pause", sentence, exit_code=2).stderr


def test_check_says_which_processes_do_not_run(site: Site) -> None:
    said = run(site, "check", exit_code=1).stdout
    assert "the proxy does not run" in said
    assert "the hub does not run" in said
    assert "the service" not in said
    assert said.splitlines()[-1] == "2 findings", said


def test_check_tells_of_a_pause(site: Site) -> None:
    run(site, "pause", "moving disks")
    try:
        said = run(site, "check", exit_code=1).stdout
    finally:
        run(site, "resume")
    assert "new work is refused: moving disks\n   Remedy: run `sampan resume`" in said


def test_check_finds_another_process_at_the_same_folder(site: Site) -> None:
    holder = "import sys; f = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-c", holder, str(site.paths.run / "service.lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        troubles = list(running.check_other_users_of_folder(site))
        other.communicate()
    assert [trouble.text for trouble in troubles] == [
        f"process {other.pid} works with {site.paths.root} and is none of the recorded three"
    ]
    assert list(running.check_other_users_of_folder(site)) == []


def test_a_refused_request_is_a_sentence(site: Site) -> None:
    key = site.paths.key("service.key")
    kept = key.read_bytes()
    try:
        key.write_bytes(b"another key\n")
        said = run(site, "jobs", exit_code=1).stderr
    finally:
        key.write_bytes(kept)
    assert said.startswith("Error: The service refused GET jobs: ")
    assert "another key" not in said
