"""A registry that takes images in and remembers what they were: digests are checked, contents are not kept."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

BLOCK_BYTES = 1 << 20


class Registry(ThreadingHTTPServer):
    """`address` is what stands before an image's name; `manifests` has what was pushed, by name and tag."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, int] = {}
        self.manifests: dict[tuple[str, str], dict[str, Any]] = {}
        self.uploads: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/v2/" else 404)

    def do_HEAD(self) -> None:
        digest = self.path.rsplit("/", 1)[-1]
        known = digest in self.server.blobs
        self._answer(200 if known else 404, {"Docker-Content-Digest": digest} if known else {})

    def do_POST(self) -> None:
        upload = uuid.uuid4().hex
        self.server.uploads[upload] = (hashlib.sha256(), [0])
        self._answer(202, {"Location": f"{urlsplit(self.path).path}{upload}"})

    def do_PATCH(self) -> None:
        self._take()
        self._answer(202, {"Location": self.path})

    def do_PUT(self) -> None:
        place = urlsplit(self.path)
        if "/manifests/" in place.path:
            name, tag = place.path.removeprefix("/v2/").split("/manifests/")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.manifests[name, tag] = json.loads(body)
            self._answer(201, {"Docker-Content-Digest": f"sha256:{hashlib.sha256(body).hexdigest()}"})
            return
        digest, size = self._take()
        wanted = parse_qs(place.query)["digest"][0]
        if f"sha256:{digest.hexdigest()}" != wanted:
            self._answer(400)
            return
        self.server.blobs[wanted] = size[0]
        self._answer(201, {"Docker-Content-Digest": wanted})

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the builder says what failed."""

    def _take(self) -> Any:
        """The request's body goes into the upload that its path names."""
        digest, size = upload = self.server.uploads[urlsplit(self.path).path.rsplit("/", 1)[-1]]
        for block in self._blocks():
            digest.update(block)
            size[0] += len(block)
        return upload

    def _blocks(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while left := int(self.rfile.readline(), 16):
                yield self.rfile.read(left)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            block = self.rfile.read(min(left, BLOCK_BYTES))
            left -= len(block)
            yield block

    def _answer(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()


@contextmanager
def running_registry() -> Iterator[Registry]:
    registry = Registry()
    thread = Thread(target=registry.serve_forever, daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        registry.shutdown()
        registry.server_close()
        thread.join()
