"""A headless Chromium that opens a page from disk, and tells what it saw: spoken to in its own debugging protocol.

The protocol's messages are JSON, each ended by a zero byte, over two pipes that the browser finds as 3 and 4.
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

# Of its own accord it would ask the network for updates and the like.
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
# Seconds that a page may take on a machine that does other work as well.
PATIENCE = 120


class Tab:
    """A page as a browser shows it; `requests` are the addresses it asked for, `problems` what it complained of."""

    def __init__(self, write: int, read: int) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._write, self._read = write, read
        self._left = b""
        self._number = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one of the protocol's methods; events that come before it are noted."""
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
            self._note(answer)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            received = os.read(self._read, 1 << 20)
            assert received, "the browser ended"
            self._left += received
        text, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _note(self, event: Mapping[str, Any]) -> None:
        method, params = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled":
            self.problems.append(" ".join(str(part.get("value", part)) for part in params["args"]))
        elif method == "Log.entryAdded":
            self.problems.append(params["entry"]["text"])

    def see(self, width: int, height: int, **media: Any) -> None:
        """Gives the page a window of this size in pixels, and a medium: `media="print"`, or features such as dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", **media)

    def open(self, path: Path) -> None:
        """Opens a file, and waits until its figures are drawn."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.documentElement?.dataset.figures")

    def wait(self, expression: str) -> Any:
        """What a JavaScript expression is in the page, once it is something."""
        until = time.monotonic() + PATIENCE
        while not (found := self.value(expression)):
            assert time.monotonic() < until, f"{expression} came to nothing; the browser said {self.problems}"
            time.sleep(0.05)
        return found

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def picture(self, path: Path, whole: bool = True) -> None:
        """Writes what it looks like as PNG: all of the page, or what the window shows."""
        drawn = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(b64decode(drawn["data"]))


@contextmanager
def browser_tab(profile: Path) -> Iterator[Tab]:
    """A new browser with one tab, its profile in an empty folder."""
    assert CHROMIUM is not None
    (theirs_in, write), (read, theirs_out) = os.pipe(), os.pipe()
    # The shell puts the two ends where the browser looks for them; not every shell knows numbers above 9.
    program = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    command = ["bash", "-c", program, "bash", CHROMIUM, *OPTIONS, f"--user-data-dir={profile}"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stdout=quiet, stderr=quiet) as browser:
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Tab(write, read)
        finally:
            os.close(write)
            os.close(read)
            browser.terminate()
