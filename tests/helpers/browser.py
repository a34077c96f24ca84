"""A headless Chromium that opens a page from disk, controlled by the Chrome DevTools Protocol.

The protocol's messages are JSON, each ended by a zero byte, over two pipes: the browser's file descriptors 3 and 4.
"""

import json
import os
import shutil
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Without these options it would ask the network for updates, for example.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
# Seconds that a page may take, on a machine that is busy with other work.
TIMEOUT = 120


class Tab:
    """A browser tab; `requests` are the addresses that its page requested, `problems` its errors and messages."""

    def __init__(self, write: int, read: int) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._write, self._read = write, read
        self._unread = b""
        self._number = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a method of the protocol and returns its result; events that arrive before it are recorded."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._record(answer)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            received = os.read(self._read, 1 << 20)
            assert received, "the browser ended"
            self._unread += received
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _record(self, event: Mapping[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled":
            self.problems.append(" ".join(str(value.get("value", value)) for value in params["args"]))
        elif method == "Log.entryAdded":
            self.problems.append(params["entry"]["text"])

    def resize(self, width: int, height: int, **media: Any) -> None:
        """Sets the window's size in pixels and the emulated media: `media="print"`, or features such as dark mode."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", **media)

    def open(self, path: Path) -> None:
        """Opens a file and waits until its figures are drawn."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.documentElement?.dataset.figures")

    def wait(self, expression: str) -> Any:
        """Waits until a JavaScript expression in the page is truthy, and returns its value."""
        deadline = time.monotonic() + TIMEOUT
        while not (value := self.value(expression)):
            assert time.monotonic() < deadline, f"{expression} stayed falsy; the browser's problems: {self.problems}"
            time.sleep(0.05)
        return value

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def screenshot(self, path: Path, full_page: bool = True) -> None:
        """Writes a screenshot as PNG, of the full page or of the window."""
        result = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full_page)
        path.write_bytes(b64decode(result["data"]))


@contextmanager
def browser_tab(profile: Path) -> Iterator[Tab]:
    """A new browser with one tab, its profile in an empty folder."""
    assert CHROMIUM is not None
    (browser_in, write), (read, browser_out) = os.pipe(), os.pipe()
    # The shell moves the two ends to descriptors 3 and 4; bash, because not every shell accepts numbers above 9.
    program = f'exec "$@" 3<&{browser_in} 4>&{browser_out}'
    command = ["bash", "-c", program, "bash", CHROMIUM, *OPTIONS, f"--user-data-dir={profile}"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, pass_fds=(browser_in, browser_out), stdout=quiet, stderr=quiet) as browser:
        os.close(browser_in)
        os.close(browser_out)
        try:
            yield Tab(write, read)
        finally:
            os.close(write)
            os.close(read)
            browser.terminate()
