"""Watching over the processes of a run: one that is gone is noticed by the others, which name it and end.

Each process gives signs of life through the store of JAX's coordinator, which process 0 runs, and looks for those of
the others. JAX notices a lost process by itself (HEARTBEAT), but then ends the others with a stack trace that names
nobody; here they have a line of their own before that.
"""

import os
import socket
import sys
import threading
import time
from typing import Any, NamedTuple

# Seconds: between two signs of life; without one until a process counts as gone; until JAX itself ends the others.
BEAT, SILENCE, HEARTBEAT = 2.0, 30.0, 50
# A day, in milliseconds: the last process to finish may have a large model to write.
PATIENCE = 86_400_000

_SIGNS = "candor/signs"
_WAY_OUT = (
    "this process ends too. Nothing half-written counts: start all of them again with the same commands, or fewer of "
    "them (CANDOR_PROCESSES), and it goes on from what was saved"
)


class _Sign(NamedTuple):
    """What a process last said: where it runs, whether it ended early, and a number that grows."""

    where: str
    ended: bool
    beat: int

    def written(self) -> str:
        return f"{self.beat}|{int(self.ended)}|{self.where}"


class Watch(threading.Thread):
    """Gives this process's signs of life, and ends it with a line and status 1 when another one is gone."""

    def __init__(self, client: Any, number: int, total: int):
        super().__init__(name="watch", daemon=True)
        self._client, self._number, self._total = client, number, total
        self._sign = _Sign(f"{socket.gethostname()}, process id {os.getpid()}", False, 0)
        self._seen: dict[int, tuple[_Sign, float]] = {}
        self._over = threading.Event()

    def run(self) -> None:
        """Gives a sign and looks for the others', every BEAT seconds until `leave` or `fail`."""
        began = time.monotonic()
        while not self._over.is_set():
            verdict = self._round(began)
            if verdict and not self._over.is_set():
                _end(verdict)
            self._over.wait(BEAT)

    def leave(self) -> None:
        """Waits until all processes are done, watching over them; after that each may end at its own time."""
        self._client.wait_at_barrier("candor/done", timeout_in_ms=PATIENCE)
        self._over.set()
        self.join()

    def fail(self) -> None:
        """Tells the others that this process ends early; they end within seconds."""
        self._over.set()
        self.join()
        self._sign = self._sign._replace(ended=True)
        try:
            self._say()
            if self._number == 0:
                time.sleep(2 * BEAT)  # it keeps what they read
        except RuntimeError:
            pass  # process 0 is gone as well, which they see by themselves

    def _round(self, began: float) -> str | None:
        """What is wrong with another process, if anything."""
        try:
            self._say()
            signs = self._signs()
        except RuntimeError:
            first = self._seen.get(0)
            return f"{self._named(0, first[0] if first else None)} is gone: the connection to it broke"
        now = time.monotonic()
        for number in range(self._total):
            sign = signs.get(number)
            before, since = self._seen.get(number, (None, began))
            if sign and sign != before:
                self._seen[number] = (sign, now)
            if sign and sign.ended:
                return f"{self._named(number, sign)} ended early, as a message of its own says"
            if sign == before and now - since > SILENCE:
                return f"{self._named(number, sign)} is gone: no sign of life for {SILENCE:.0f} seconds"
        return None

    def _say(self) -> None:
        self._sign = self._sign._replace(beat=self._sign.beat + 1)
        self._client.key_value_set(f"{_SIGNS}/{self._number}", self._sign.written(), allow_overwrite=True)

    def _signs(self) -> dict[int, _Sign]:
        found = {}
        for key, said in self._client.key_value_dir_get(_SIGNS):
            beat, ended, where = said.split("|", 2)
            found[int(key.rpartition("/")[2])] = _Sign(where, ended == "1", int(beat))
        return found

    def _named(self, number: int, sign: _Sign | None) -> str:
        return f"process {number} of {self._total}" + (f" ({sign.where})" if sign else "")


def _end(verdict: str) -> None:
    # Not by an exception: the main thread may wait in an exchange that nobody answers any more.
    sys.stdout.flush()
    print(f"error: {verdict}; {_WAY_OUT}", file=sys.stderr, flush=True)
    os._exit(1)
