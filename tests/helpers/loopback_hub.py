"""A local Hugging Face hub with invented repositories, which answers its clients with the faults that a test sets."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import huggingface_hub
import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONVERTED = "fedcba9876543210fedcba9876543210fedcba98"
TOKEN = "hf_invented"

LARGE = (".safetensors", ".parquet")
_API = re.compile(r"/api/(?:models|datasets)/(?P<id>[^/]+/[^/]+)(?:/revision/(?P<revision>[^/]+))?")
_FILE = re.compile(r"/(?:datasets/)?(?P<id>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


class Hub(ThreadingHTTPServer):
    """Repositories by id, each with branches and tags, each with a commit and files by path.

    `cuts` holds, by file name, after how many bytes the next responses break off; `wrong`, by file name, the content
    that is sent instead; `statuses` the error statuses of the next requests. Files of a `gated` repository need the
    token. `pages` are other responses, by address. Recorded are, in `asked`, the names and byte ranges of requested
    files, in `requests` all paths, and in `logins` the Authorization headers.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, tuple[str, dict[str, bytes]]]] = {}
        self.gated: set[str] = set()
        self.cuts: dict[str, list[int]] = {}
        self.wrong: dict[str, bytes] = {}
        self.statuses: list[int] = []
        self.pages: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.logins: list[str | None] = []
        self.asked: list[tuple[str, str | None]] = []

    def put(self, repository: str, files: Mapping[str, bytes], branch: str = "main", commit: str = COMMIT) -> None:
        """Publishes the files as the newest commit of a branch."""
        self.repositories.setdefault(repository, {})[branch] = (commit, dict(files))

    def handle_error(self, *_: object) -> None:
        """Ignores a connection that the other side has closed."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.server.logins.append(self.headers["Authorization"])
        if self.server.statuses:
            return self._send(self.server.statuses.pop(0), b"no")
        if self.path in self.server.pages:
            return self._send(200, self.server.pages[self.path])
        path = self.path.partition("?")[0]
        match = _API.fullmatch(path) or _FILE.fullmatch(path)
        # Like the hub: a missing repository gets the response of a private one, so as not to reveal private names.
        if match is None or match["id"] not in self.server.repositories:
            return self._refuse(401, "RepoNotFound")
        if match.re is _API:
            return self._list(match["id"], unquote(match["revision"] or "main"))
        if match["id"] in self.server.gated and self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._refuse(401, "GatedRepo")
        return self._file(match["id"], match["revision"], unquote(match["path"]))

    def _list(self, repository: str, revision: str) -> None:
        branches = self.server.repositories[repository]
        known = branches | {commit: (commit, files) for commit, files in branches.values()}
        if revision not in known:
            return self._refuse(404, "RevisionNotFound")
        commit, files = known[revision]
        about = {
            "id": repository,
            "sha": commit,
            "cardData": {"license": "cc0-1.0"},
            "siblings": [_sibling(path, content) for path, content in sorted(files.items())],
        }
        return self._send(200, json.dumps(about).encode())

    def _file(self, repository: str, revision: str, path: str) -> None:
        commits = dict(self.server.repositories[repository].values())
        assert re.fullmatch("[0-9a-f]{40}", revision), "files are asked for at a commit"
        if path not in commits.get(revision, {}):
            return self._refuse(404, "EntryNotFound")
        name, byte_range = path.rpartition("/")[2], self.headers["Range"]
        self.server.asked.append((name, byte_range))
        content = self.server.wrong.get(name, commits[revision][path])
        start = int(byte_range.removeprefix("bytes=").removesuffix("-")) if byte_range else 0
        cuts = self.server.cuts.get(name)
        return self._send(206 if byte_range else 200, content[start:], cut=cuts.pop(0) if cuts else None)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"no", {"X-Error-Code": code})

    def _send(
        self, status: int, content: bytes, headers: Mapping[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content if cut is None else content[:cut])
        self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Prints nothing."""


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    about = {
        "rfilename": path,
        "size": len(content),
        "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
    }
    if path.endswith(LARGE):
        about["lfs"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 135}
    return about


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, scratch: Path) -> Iterator[Hub]:
    """The hub that `huggingface_hub` uses while the block runs, without a login and without waits between tries."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("CANDOR_HOME", str(scratch))
    monkeypatch.setattr("stages.fetch.http.time.sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(scratch / "no token"))
    hub = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    files = hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    huggingface_hub.close_session()
    thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        huggingface_hub.close_session()
        hub.shutdown()
        hub.server_close()
        thread.join()
