"""`sampan kubernetes entry` and `leave`, against an HTTPS entry that plays the hub and the service."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sampan_hub.cli.kubernetes.entry import entry
from sampan_hub.cli.kubernetes.leave import leave
from sampan_hub.jobs.keys import make_credential
from sampan_hub.settings.keyfiles import KeyFileError
from sampan_hub.trust.authority import Usage
from sampan_hub.trust.files import ensure_authority, ensure_certificate, pair_in

KEY = b"k" * 64
API = "/services/sampan/api/v1"


class Entry:
    """What it answers by path, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        authority = ensure_authority(pair_in(folder, "ca"), "test", Usage.SERVER, now)
        shown = pair_in(folder, "entry")
        day = timedelta(days=1)
        ensure_certificate(shown, authority, "entry", ["127.0.0.1"], lifetime=day, renew_before=day / 2, now=now)
        self.ca = folder / "ca.crt"
        self.key = folder / "service.key"
        self.key.write_bytes(KEY + b"\n")
        self.states = {"a.1": "running", "a.2": "queued", "a.3": "ended"}
        self.stops_take = True
        self.status = {"/hub/health": 200, "/services/sampan/readyz": 200}
        self.asked: list[tuple[str, str, str | None]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(shown.certificate, shown.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path in self.status:
            return self.status[path], {}
        if method == "POST" and path == f"{API}/jobs/stop":
            if self.stops_take:
                self.states.update(dict.fromkeys(body["ids"], "ended"))
            return 200, {}
        if method == "GET" and path.startswith(f"{API}/jobs"):
            return 200, {"jobs": [{"id": key, "state": state} for key, state in self.states.items()], "revision": 7}
        return 404, {}

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.asked.append((self.command, self.path, self.headers.get("Authorization")))
                status, body = outer.answer(self.command, self.path, json.loads(content or b"null"))
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = _do

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Entry]:
    made = Entry(tmp_path)
    yield made
    made.close()


def run_entry(there: Entry, *words: str) -> Result:
    return CliRunner().invoke(entry, [there.url, "--ca", str(there.ca), "--wait", "0", *words])


def run_leave(there: Entry, *words: str) -> Result:
    return CliRunner().invoke(leave, [there.url, "--ca", str(there.ca), "--key", str(there.key), *words])


def test_hub_and_service_that_answer_are_named_with_their_address(there: Entry) -> None:
    done = run_entry(there)
    assert done.exit_code == 0, done.output
    assert f"the hub answers at {there.url}hub/health" in done.output
    assert f"the compute service answers at {there.url}services/sampan/readyz" in done.output


def test_a_service_that_cannot_work_fails_the_test(there: Entry) -> None:
    there.status["/services/sampan/readyz"] = 503
    done = run_entry(there)
    assert done.exit_code == 1
    assert "the compute service" in done.output
    assert "503" in done.output


def test_whoever_shows_another_certificate_is_not_believed(there: Entry, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    ensure_authority(pair_in(other, "ca"), "other", Usage.SERVER, datetime.now(UTC))
    done = CliRunner().invoke(entry, [there.url, "--ca", str(other / "ca.crt"), "--wait", "0"])
    assert done.exit_code == 1
    assert "certificate" in done.output
    assert there.asked == []


def test_an_address_without_encryption_is_refused() -> None:
    done = CliRunner().invoke(entry, ["http://127.0.0.1:1/"])
    assert done.exit_code == 1
    assert "is not https" in done.output


def test_leaving_stops_all_that_has_not_ended_and_says_what_stays(there: Entry) -> None:
    done = run_leave(there)
    assert done.exit_code == 0, done.output
    assert set(there.states.values()) == {"ended"}
    assert "No job runs any more" in done.output
    assert "sampan-state" in done.output
    credential = f"Bearer {make_credential(KEY, 'cli', 'admin')}"
    assert {authorization for _, _, authorization in there.asked} == {credential}


def test_what_does_not_stop_in_time_keeps_nobody_from_leaving(there: Entry) -> None:
    there.stops_take = False
    done = run_leave(there, "--wait", "1")
    assert done.exit_code == 0, done.output
    assert "kubectl delete pods" in done.output


def test_a_service_that_is_gone_keeps_nobody_from_leaving(there: Entry) -> None:
    there.close()
    done = run_leave(there)
    assert done.exit_code == 0, done.output
    assert "was not asked to stop anything" in done.output
    assert "kubectl delete pods" in done.output


def test_an_empty_key_is_a_sentence(there: Entry) -> None:
    there.key.write_bytes(b"\n")
    assert isinstance(run_leave(there).exception, KeyFileError)
