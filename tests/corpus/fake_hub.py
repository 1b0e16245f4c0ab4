"""A Hub of a few routes in this process: what `huggingface_hub` asks for, and what goes wrong.

Routes: GET /api/datasets/OWNER/NAME/revision/REV (JSON), and HEAD and GET of
/datasets/OWNER/NAME/resolve/COMMIT/FILE with ETag, X-Repo-Commit and Range.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass
class Repository:
    """Commits of one data set: `refs` name them, `cut` breaks a file's first answer after n bytes."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    refuse: tuple[int, str] | None = None
    cut: dict[str, int] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], *, ref: str = "main") -> str:
        listing = "".join(
            f"{name} {hashlib.sha1(data).hexdigest()}" for name, data in files.items()
        )
        sha = hashlib.sha1(listing.encode()).hexdigest()
        self.commits[sha] = files
        self.refs[ref] = sha
        return sha


class FakeHub:
    """The server; `requests` lists "METHOD path range" in the order they came."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server_hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: a test has no log."""
        del format, args

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        wanted = self.headers.get("Range", "")
        self.server_hub.requests.append(f"{self.command} {path} {wanted}".strip())
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "datasets"]
        name = "/".join(parts[2:4] if api else parts[1:3])
        repository = self.server_hub.repositories.get(name)
        if repository is None:
            return self._refuse(404, "RepoNotFound")
        if repository.refuse:
            return self._refuse(*repository.refuse)
        revision = "/".join(parts[5:]) if api else parts[4]
        commit = repository.refs.get(revision, revision)
        files = repository.commits.get(commit)
        if files is None:
            return self._refuse(404, "RevisionNotFound")
        if api:
            return self._list(name, commit, files, repository.card)
        file = "/".join(parts[5:])
        if file not in files:
            return self._refuse(404, "EntryNotFound")
        return self._file(
            files[file],
            commit=commit,
            cut=repository.cut.pop(file, None) if self.command == "GET" else None,
        )

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _list(self, name: str, commit: str, files: dict[str, bytes], card: dict[str, Any]) -> None:
        told = {
            "id": name,
            "sha": commit,
            "cardData": card,
            "siblings": [{"rfilename": file} for file in files],
        }
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, content: bytes, *, commit: str, cut: int | None) -> None:
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[start : cut if cut is not None else len(content)])
        if cut is not None:
            self.close_connection = True  # fewer bytes than promised: the line went dead
