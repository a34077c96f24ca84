"""Fetching a pinned file from a local package index: resumed, retried, verified, and every fault is one line."""

import base64
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from stages.core.errors import UserError
from stages.fetch import package_index
from stages.fetch.archive_pins import ArchivePin
from stages.fetch.package_index import fetch_archive, pip_settings

PAYLOAD = random.Random(0).randbytes(300_000)
FILE = "tiny_project-1.0.tar.gz"
PIN = ArchivePin("tiny", "tiny-project", "1.0", FILE, len(PAYLOAD), hashlib.sha256(PAYLOAD).hexdigest(), "Apache-2.0")
NO_WAIT = (0.0, 0.0)


class Index(ThreadingHTTPServer):
    """A local package index with one project of one file, and with the faults that a test sets.

    `cuts` holds, for each request of the file to come, how many bytes are sent before the connection is cut; `ranges`
    holds the `Range` of each request of the file, `sent` the bytes of it that were sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = PAYLOAD
        self.serves_ranges = True
        self.page_statuses: list[int] = []
        self.login = ""
        self.cuts: list[int] = []
        self.stalls = threading.Event()
        self.stall_after = 0
        self.ranges: list[str | None] = []
        self.sent = 0

    def handle_error(self, *_: object) -> None:
        """Ignores a connection that the other side has closed."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class _Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        path = self.path.removeprefix("http://index.example")  # what a proxy is asked for begins with the host
        if self.server.login and self.headers["Authorization"] != self.server.login:
            self.send_error(401)
        elif path == "/moved/tiny-project/":
            self._head(301, 0, {"Location": "/simple/tiny-project/"})
        elif path == "/simple/tiny-project/":
            self._page()
        elif path == f"/files/{FILE}":
            self._file()
        else:
            self.send_error(404)

    def _page(self) -> None:
        if self.server.page_statuses:
            self.send_error(self.server.page_statuses.pop(0))
            return
        others = ["tiny_project-0.9.tar.gz", "tiny_project-1.0-py3-none-any.whl", FILE]
        page = "".join(f'<a href="/files/{name}" data-requires-python="&lt;3">{name}</a>' for name in others).encode()
        self._head(200, len(page), {"Content-Type": "text/html"})
        self.wfile.write(page)

    def _file(self) -> None:
        wanted = self.headers["Range"]
        self.server.ranges.append(wanted)
        content = self.server.content
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and self.server.serves_ranges else 0  # type: ignore[index]
        if start and start >= len(content):
            self.send_error(416)
            return
        about = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self._head(206 if start else 200, len(content) - start, about)
        end = start + self.server.cuts.pop(0) if self.server.cuts else len(content)
        if self.server.stall_after:
            self.wfile.write(content[start : self.server.stall_after])
            self.server.stalls.wait(20)
            start = end
        self.wfile.write(content[start:end])
        self.server.sent += len(content[start:end])
        self.close_connection = True

    def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(length)}).items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the machine's pip configuration, proxies and downloads out of the tests."""
    for key in [key for key in os.environ if key.startswith("PIP_") or key.lower().endswith("_proxy")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path / "home"))


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    with Index() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        # Running pip takes most of a second, so only one test below does it.
        monkeypatch.setattr(package_index, "pip_settings", lambda: {"index-url": server.url, "timeout": "5"})
        yield server
        server.stalls.set()
        server.shutdown()
        thread.join()


def _part() -> Path:
    return PIN.path.with_name(f"{FILE}.part")


def _put(content: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _downloads() -> set[str]:
    """The files in the downloads folder except the lock, which stays."""
    return {path.name for path in PIN.path.parent.iterdir()} - {f"{FILE}.lock"}


def test_a_file_is_found_on_the_index_fetched_and_verified(index: Index) -> None:
    path = fetch_archive(PIN)
    assert path.read_bytes() == PAYLOAD
    assert _downloads() == {FILE, f"{FILE}.verified.json"}
    assert index.ranges == [None]


def test_a_fetched_file_needs_no_index_and_no_second_hashing(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch_archive(PIN)
    monkeypatch.setattr(ArchivePin, "mismatch", lambda *_: pytest.fail("hashed again"))
    assert fetch_archive(PIN).read_bytes() == PAYLOAD
    assert len(index.ranges) == 1


def test_a_cut_transfer_is_resumed(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    index.cuts = [100_000, 150_000]
    assert fetch_archive(PIN, NO_WAIT).read_bytes() == PAYLOAD
    assert index.ranges == [None, "bytes=100000-", "bytes=250000-"]
    assert index.sent == len(PAYLOAD)
    assert "trying again in 0 s" in capsys.readouterr().err


def test_a_transfer_that_is_cut_too_often_keeps_its_part_for_the_next_call(index: Index) -> None:
    index.cuts = [1_000, 1_000, 1_000]
    with pytest.raises(UserError, match="could not be fetched"):
        fetch_archive(PIN, NO_WAIT)
    assert _part().stat().st_size == 3_000
    assert fetch_archive(PIN, NO_WAIT).read_bytes() == PAYLOAD
    assert index.sent == len(PAYLOAD)


def test_a_server_without_ranges_sends_the_file_from_the_start(index: Index) -> None:
    index.serves_ranges = False
    index.cuts = [100_000]
    assert fetch_archive(PIN, NO_WAIT).read_bytes() == PAYLOAD
    assert index.sent == 100_000 + len(PAYLOAD)


@pytest.mark.parametrize("begun", [b"x" * 1_000, b"x" * (len(PAYLOAD) + 1), b"x" * len(PAYLOAD)])
def test_a_part_of_another_file_is_dropped_and_the_file_fetched_from_its_start(index: Index, begun: bytes) -> None:
    _put(begun, _part())
    assert fetch_archive(PIN, NO_WAIT).read_bytes() == PAYLOAD
    assert index.ranges[-1] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"?" + PAYLOAD[1:], f"expected {PIN.sha256}"),
        (PAYLOAD[:-1], "its size is 299,999 bytes, expected 300,000"),
        (PAYLOAD + PAYLOAD, "expected 300,000"),
        (b"", "its size is 0 bytes, expected 300,000"),
    ],
)
def test_a_file_that_differs_from_its_pin_is_refused_and_removed(index: Index, content: bytes, message: str) -> None:
    index.content = content
    with pytest.raises(UserError) as caught:
        fetch_archive(PIN, NO_WAIT)
    for word in (FILE, message, "pip config list", str(PIN.path.parent)):
        assert word in str(caught.value)
    assert _downloads() == set()


def test_a_file_that_is_far_too_long_is_not_received_to_its_end(index: Index) -> None:
    index.content = PAYLOAD * 100
    with pytest.raises(UserError, match="expected 300,000") as caught:
        fetch_archive(PIN, NO_WAIT)
    assert f"{len(index.content):,}" not in str(caught.value)


def test_a_file_that_is_cut_short_on_the_server_is_refused_after_a_resume_too(index: Index) -> None:
    _put(PAYLOAD[:200_000], _part())
    index.content = PAYLOAD[:200_000]
    with pytest.raises(UserError, match="its size is 200,000 bytes"):
        fetch_archive(PIN, NO_WAIT)
    assert index.ranges == ["bytes=200000-", None]


def test_a_busy_index_is_asked_again(index: Index) -> None:
    index.page_statuses = [503, 429]
    assert fetch_archive(PIN, NO_WAIT).read_bytes() == PAYLOAD


def test_waits_between_tries_are_those_of_the_backoff(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    index.page_statuses = [503] * 9
    with pytest.raises(UserError, match="503"):
        fetch_archive(PIN, (1.0, 3.0))
    assert waited == [1.0, 3.0]


def test_an_index_that_cannot_be_reached_is_one_line_with_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with Index() as gone:
        url = gone.url.replace("http://", "http://user:secret@")
    monkeypatch.setattr(package_index, "pip_settings", lambda: {"index-url": url})
    with pytest.raises(UserError) as caught:
        fetch_archive(PIN, NO_WAIT)
    for word in ("tiny-project", "1.0", "pip config list", f"put {FILE} into {PIN.path.parent}", "127.0.0.1"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"no-index": "1"}, {"no-index": "true", "find-links": "no/such/folder"}])
def test_a_missing_file_is_one_line_without_retries(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    monkeypatch.setattr(package_index, "pip_settings", lambda: settings)
    with pytest.raises(UserError, match="it is not in .* by hand"):
        fetch_archive(PIN, (60.0,))


def test_a_missing_project_is_not_retried(index: Index) -> None:
    index.page_statuses = [404]
    with pytest.raises(UserError, match=f"it is not in {index.url}"):
        fetch_archive(PIN, (60.0,))


def test_an_index_that_is_down_does_not_hide_another(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    with Index() as gone:
        both = {"index-url": gone.url, "extra-index-url": index.url}
    monkeypatch.setattr(package_index, "pip_settings", lambda: both)
    assert fetch_archive(PIN, ()).read_bytes() == PAYLOAD


def test_the_credentials_of_the_index_are_used_for_its_files(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.login = f"Basic {base64.b64encode(b'user:secret').decode()}"
    with pytest.raises(UserError, match="it is not in"):
        fetch_archive(PIN, ())
    settings = {"index-url": index.url.replace("http://", "http://user:secret@")}
    monkeypatch.setattr(package_index, "pip_settings", lambda: settings)
    assert fetch_archive(PIN, ()).read_bytes() == PAYLOAD


def test_an_index_that_has_moved_is_followed(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"index-url": index.url.replace("simple", "moved")}
    monkeypatch.setattr(package_index, "pip_settings", lambda: settings)
    assert fetch_archive(PIN, ()).read_bytes() == PAYLOAD


def test_a_trusted_host_is_reached_through_the_proxy(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"index-url": "http://index.example/simple", "trusted-host": "index.example", "proxy": index.url}
    monkeypatch.setattr(package_index, "pip_settings", lambda: settings)
    assert fetch_archive(PIN, ()).read_bytes() == PAYLOAD


def test_a_file_put_by_hand_is_used_without_any_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_index, "pip_settings", lambda: pytest.fail("asked for an index"))
    _put(PAYLOAD, PIN.path)
    assert fetch_archive(PIN) == PIN.path


def test_a_wrong_file_put_by_hand_is_reported_and_replaced(index: Index, capsys: pytest.CaptureFixture[str]) -> None:
    _put(b"x" + PAYLOAD[1:], PIN.path)
    assert fetch_archive(PIN).read_bytes() == PAYLOAD
    assert f"expected {PIN.sha256}" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(index: Index) -> None:
    _part().parent.mkdir(parents=True)
    _part().symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"no room is left .* CANDOR_HOME"):
        fetch_archive(PIN)


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_part_left_by_a_killed_process_is_resumed(index: Index) -> None:
    index.stall_after = 200_000
    program = (
        "from stages.fetch import package_index; from stages.fetch.archive_pins import ArchivePin;"
        f"package_index.pip_settings = lambda: {{'index-url': {index.url!r}}}; package_index.fetch_archive({PIN!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2])
    _until(lambda: _part().exists() and _part().stat().st_size > 100_000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert _downloads() == {f"{FILE}.part"}
    begun = _part().stat().st_size
    index.stall_after = 0
    assert fetch_archive(PIN).read_bytes() == PAYLOAD
    assert index.ranges == [None, f"bytes={begun}-"]


def test_a_second_process_waits_for_the_first_and_finds_its_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(package_index, "pip_settings", lambda: pytest.fail("asked for an index"))
    PIN.path.parent.mkdir(parents=True)
    message = ""

    def waits() -> bool:
        nonlocal message
        message += capsys.readouterr().err
        return "another process does it already" in message

    with ThreadPoolExecutor() as pool, FileLock(PIN.path.with_name(f"{FILE}.lock")):
        fetched = pool.submit(fetch_archive, PIN)
        _until(waits)
        PIN.path.write_bytes(PAYLOAD)
    assert fetched.result() == PIN.path


@pytest.mark.parametrize("as_url", [False, True])
def test_a_folder_of_files_is_used_if_pip_is_configured_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_url: bool
) -> None:
    folder = tmp_path / "wheels"
    _put(PAYLOAD, folder / FILE)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri() if as_url else str(folder))
    assert fetch_archive(PIN).read_bytes() == PAYLOAD


def test_an_index_can_be_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(PAYLOAD, tmp_path / "files" / FILE)
    _put(f'<a href="../../files/{FILE}">{FILE}</a>'.encode(), tmp_path / "simple/tiny-project/index.html")
    settings = {"index-url": (tmp_path / "simple").as_uri()}
    monkeypatch.setattr(package_index, "pip_settings", lambda: settings)
    assert fetch_archive(PIN).read_bytes() == PAYLOAD


def test_settings_are_pips_own_files_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nquiet = 2\ntimeout = 7\nindex-url = https://one.example/simple\nproxy = http://proxy.example\n"
        "[install]\nindex-url = https://two.example/simple\n[list]\ntimeout = 9\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://three.example/simple https://four.example/simple")
    monkeypatch.setenv("PIP_PROXY", "")
    settings = pip_settings()
    assert settings["timeout"] == "7"
    assert settings["index-url"] == "https://two.example/simple"
    assert settings["extra-index-url"] == "https://three.example/simple https://four.example/simple"
    assert settings["proxy"] == "http://proxy.example"


def test_where_pips_files_disagree_the_setting_that_pip_uses_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        ("list",): "global.index-url='https://site.example'\nglobal.index-url='https://user.example'\n",
        ("get", "global.index-url"): "https://site.example\n",
    }
    monkeypatch.setattr(package_index, "_pip_config", lambda *arguments: answers[arguments])
    assert pip_settings() == {"index-url": "https://site.example"}


def test_a_broken_pip_configuration_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("no section\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    with pytest.raises(UserError, match="Configuration file could not be loaded") as caught:
        pip_settings()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("settings", [{"cert": "no/such/file.pem"}, {"timeout": "long"}])
def test_an_unusable_setting_is_one_line(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    monkeypatch.setattr(package_index, "pip_settings", lambda: settings)
    with pytest.raises(UserError, match="unusable"):
        fetch_archive(PIN, ())
