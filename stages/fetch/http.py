"""HTTP downloads with progress, retries and resumption: a partial file is continued by the next try or call.

The clients of the package index, of the hub and of GitHub look files up in their own ways, and all download them here.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from stages.core.progress import progress

BACKOFF_SECONDS = (1.0, 3.0, 9.0)
MEGABYTE = 1e6

T = TypeVar("T")
# Opens a response of httpx2, given additional request headers.
Opener = Callable[[Mapping[str, str]], AbstractContextManager[Any]]


def receive(
    open_response: Opener, raise_for_status: Callable[[Any], None], part: Path, name: str, size: int | None
) -> None:
    """Downloads the file `name` to `part`, and continues where an existing `part` ends.

    `raise_for_status` raises if the response is an error. `size` is the file's size in bytes, if it is known; the
    download stops once it is exceeded. The caller verifies the file.
    """
    received = bytes_of(part)
    # identity: a compressed response would consist of other bytes than the pinned ones.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={received}-"} if received else {})
    with open_response(headers) as response:
        if received and response.status_code == 416:  # the server's file ends where the part does
            return
        raise_for_status(response)
        if response.status_code != 206:  # a server without range requests sends the file from its start
            received = 0
        remaining = size - received if size is not None else int(response.headers.get("Content-Length", 0))
        with (
            part.open("ab" if received else "wb") as file,
            progress(f"fetching {name}", remaining / MEGABYTE, "MB") as advance,
        ):
            for chunk in response.iter_raw():
                file.write(chunk)
                received += len(chunk)
                advance(len(chunk) / MEGABYTE, "")
                if size is not None and received > size:  # this is another file, perhaps an endless one
                    break
            file.flush()
            os.fsync(file.fileno())


def retry(call: Callable[[], T], is_transient: Callable[[Exception], bool], name: str, backoff: Sequence[float]) -> T:
    """The result of `call`, which is called again after each wait of `backoff` seconds while its error is transient."""
    waits = iter(backoff)
    while True:
        try:
            return call()
        except Exception as error:
            seconds = next(waits, None) if is_transient(error) else None
            if seconds is None:
                raise
            print_line(f"{name}: {first_line(error)}; trying again in {seconds:g} s")
            time.sleep(seconds)


def bytes_of(part: Path) -> int:
    """The size of the file in bytes, 0 if it does not exist."""
    return part.stat().st_size if part.exists() else 0


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the name of its type."""
    return (str(error) or type(error).__name__).splitlines()[0]


def print_line(line: str) -> None:
    """Prints a line for the user to stderr, unbuffered."""
    print(line, file=sys.stderr, flush=True)
