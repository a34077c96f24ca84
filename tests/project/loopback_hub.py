"""A small model hub on this machine: what its tools ask of it, and what can go wrong on the way."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_good"


@dataclass
class Hub:
    """What the hub holds and how it behaves; `asked` are the byte ranges that files were asked for."""

    repositories: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    cuts: dict[str, list[int]] = field(default_factory=dict)  # by file, after how many bytes each answer breaks off
    wrong: dict[str, bytes] = field(default_factory=dict)  # by file, what is sent in place of it
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""


@contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    """Serves `hub` at its `address` for the block."""

    class Handler(_Handler):
        holding = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    holding: Hub

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        parts = path.removeprefix("/api/models/").strip("/").split("/")
        repository = "/".join(parts[:2])
        if repository not in self.holding.repositories:
            return self._refuse(401, "RepoNotFound")
        if path.startswith("/api/models/"):
            return self._info(repository, parts[3] if len(parts) > 3 else "main")
        if repository in self.holding.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._refuse(401, "GatedRepo")
        assert parts[2:4] == ["resolve", COMMIT], "files are asked for at a commit"
        return self._file(self.holding.repositories[repository] / "/".join(parts[4:]))

    def _info(self, repository: str, revision: str) -> None:
        if revision not in ("main", "v1", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        folder = self.holding.repositories[repository]
        about = {
            "id": repository,
            "sha": COMMIT,
            "cardData": {"license": "cc0-1.0"},
            "siblings": [_sibling(path) for path in sorted(folder.iterdir())],
        }
        return self._send(200, json.dumps(about).encode(), {})

    def _file(self, path: Path) -> None:
        content = self.holding.wrong.get(path.name, path.read_bytes())
        asked = self.headers.get("Range")
        self.holding.asked.append((path.name, asked))
        start = int(asked.removeprefix("bytes=").partition("-")[0]) if asked else 0
        cuts = self.holding.cuts.get(path.name)
        self._send(206 if asked else 200, content[start:], {}, cuts.pop(0) if cuts else None)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"no", {"X-Error-Code": code})

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = True


def _sibling(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    about = {
        "rfilename": path.name,
        "size": len(content),
        "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
    }
    if path.suffix == ".safetensors":
        about["lfs"] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 135}
    return about
