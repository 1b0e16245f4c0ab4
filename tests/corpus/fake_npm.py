"""An npm registry of two routes in this process: the list of a package's versions, its archive."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from minna.corpus.sources.npm import PinnedPackage


@dataclass
class Request:
    """What was asked for, and with which authorisation."""

    path: str
    authorization: str


class FakeNpm:
    """Serves the archives of a folder; `moved` sends those who ask for one to another address."""

    def __init__(self, folder: Path, packages: list[PinnedPackage]) -> None:
        self.requests: list[Request] = []
        self.token = ""
        self.moved = ""
        self.status = 200
        self.archives = {one.filename: (folder / one.filename).read_bytes() for one in packages}
        self.packages = {one.name: one for one in packages}
        registry = self

        class Handler(_Handler):
            server_npm = registry

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/registry"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_npm: FakeNpm

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: a test has no log."""

    def do_GET(self) -> None:
        npm = self.server_npm
        given = self.headers.get("Authorization", "")
        npm.requests.append(Request(self.path, given))
        path = unquote(self.path).removeprefix("/registry/")
        if npm.status != 200:
            return self._send(npm.status, b"")
        if npm.token and given != npm.token:
            return self._send(401, b"")
        if path in npm.packages:
            one = npm.packages[path]
            tarball = f"{npm.address}/-/{one.filename}"
            told = {"versions": {one.version: {"dist": {"tarball": tarball}}}}
            return self._send(200, json.dumps(told).encode())
        name = path.removeprefix("-/")
        if name in npm.archives and npm.moved:
            self.send_response(302)
            self.send_header("Location", f"{npm.moved}/-/{name}")
            self.end_headers()
            return None
        if name in npm.archives:
            return self._send(200, npm.archives[name])
        return self._send(404, b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
