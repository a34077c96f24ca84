"""A file over the network: received into a part, which a later try or call goes on with, with progress.

The clients of package indices, of models and of data sets find files in their own ways, and receive them in this one.
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
# Opens a response for more request headers; the response is one of httpx2.
Opener = Callable[[Mapping[str, str]], AbstractContextManager[Any]]


def receive(opened: Opener, refuse: Callable[[Any], None], part: Path, name: str, size: int | None) -> None:
    """Receives what `part` lacks of the file `name`; `refuse` raises where a response is not the file.

    `size` is the file's in bytes where it is known: more is not received, since the caller checks what came.
    """
    done = bytes_of(part)
    # identity: a server that compresses on the way would send other bytes than those that are pinned.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with opened(headers) as response:
        if done and response.status_code == 416:  # the server's file ends where the part does
            return
        refuse(response)
        if response.status_code != 206:  # a server without ranges sends the file from its start
            done = 0
        left = size - done if size is not None else int(response.headers.get("Content-Length", 0))
        with part.open("ab" if done else "wb") as file, progress(f"fetching {name}", left / MEGABYTE, "MB") as advance:
            for chunk in response.iter_raw():
                file.write(chunk)
                done += len(chunk)
                advance(len(chunk) / MEGABYTE, "")
                if size is not None and done > size:  # another file, perhaps an endless one
                    break
            file.flush()
            os.fsync(file.fileno())


def retried(call: Callable[[], T], is_passing: Callable[[Exception], bool], name: str, backoff: Sequence[float]) -> T:
    """What `call` gives, which is called again after each wait of `backoff` seconds while its error may pass."""
    waits = iter(backoff)
    while True:
        try:
            return call()
        except Exception as error:
            seconds = next(waits, None) if is_passing(error) else None
            if seconds is None:
                raise
            say(f"{name}: {first_line(error)}; trying again in {seconds:g} s")
            time.sleep(seconds)


def bytes_of(part: Path) -> int:
    """Its size, 0 where there is none."""
    return part.stat().st_size if part.exists() else 0


def first_line(error: Exception) -> str:
    """What an error says, or its type's name."""
    return (str(error) or type(error).__name__).splitlines()[0]


def say(line: str) -> None:
    """A line for the user, at once."""
    print(line, file=sys.stderr, flush=True)
