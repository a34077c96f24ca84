"""A hub on this machine, with invented repositories and the faults that a test asks for."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONVERTED = "fedcba9876543210fedcba9876543210fedcba98"


class Hub(ThreadingHTTPServer):
    """Repositories by name, each with branches, each with a commit and files by path.

    `cuts` holds, for each request of a file to come, how many bytes are sent before the connection is cut, and
    `statuses` with what status the requests to come are refused; a `gated` repository needs `token`. `pages` are other
    answers, by address.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, tuple[str, dict[str, bytes]]]] = {}
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.gated: set[str] = set()
        self.pages: dict[str, bytes] = {}
        self.token = "hf_invented"
        self.asked: list[str] = []
        self.logins: list[str | None] = []
        self.ranges: list[str | None] = []

    def put(self, repository: str, files: dict[str, bytes], branch: str = "main", commit: str = COMMIT) -> None:
        """Publishes the files as the newest commit of a branch."""
        self.repositories.setdefault(repository, {})[branch] = (commit, files)

    def handle_error(self, *_: object) -> None:
        """Passes over a connection that the other side has closed."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.logins.append(self.headers["Authorization"])
        match = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/]+)/(revision|resolve)/([^/]+)(?:/(.+))?", self.path)
        repository = match[1] if match else ""
        if self.server.statuses:
            self.send_error(self.server.statuses.pop(0))
        elif self.path in self.server.pages:
            self._send(self.server.pages[self.path])
        elif match is None or repository not in self.server.repositories:
            self._refuse(401, "RepoNotFound")
        elif repository in self.server.gated and self.headers["Authorization"] != f"Bearer {self.server.token}":
            self._refuse(401, "GatedRepo")
        elif match[2] == "revision":
            self._list(repository, unquote(match[3]))
        else:
            self._file(repository, match[3], unquote(match[4]))

    def _list(self, repository: str, branch: str) -> None:
        if branch not in self.server.repositories[repository]:
            self._refuse(404, "RevisionNotFound")
            return
        commit, files = self.server.repositories[repository][branch]
        self._send(json.dumps({"sha": commit, "siblings": [{"rfilename": path} for path in files]}).encode())

    def _file(self, repository: str, revision: str, path: str) -> None:
        commits = dict(self.server.repositories[repository].values())
        if path not in commits.get(revision, {}):
            self._refuse(404, "EntryNotFound")
            return
        content, wanted = commits[revision][path], self.headers["Range"]
        self.server.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + self.server.cuts.pop(0)] if self.server.cuts else content[start:])
        self.close_connection = True

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing."""


@contextmanager
def running() -> Iterator[Hub]:
    """The hub while the block runs."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
