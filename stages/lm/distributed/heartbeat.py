"""Watching over the processes of a run: one that is gone is noticed by the others, which name it and end.

Each process gives signs of life through the store of JAX's coordinator, which process 0 runs, and looks for those of
the others. JAX notices a lost process by itself, later (HEARTBEAT), or at once where it is process 0; but then it
aborts the others with a stack trace that names nobody. Here they have a line of their own.
"""

import ctypes
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple

# Seconds: between two signs of life; without one until a process counts as gone; until JAX itself ends the others.
BEAT_SECONDS, SILENCE_SECONDS, JAX_HEARTBEAT_SECONDS = 2.0, 30.0, 50
# A day, in milliseconds: the last process to finish may have a large model to write.
PATIENCE = 86_400_000

_SIGNS, _OVER = "candor/signs", "candor/over"
_WAY_OUT = (
    "this process ends too. Nothing half-written counts: start all of them again with the same commands, or fewer of "
    "them (CANDOR_PROCESSES), and it goes on from what was saved"
)


class Beat(NamedTuple):
    """What a process last said: a number that grows, whether it ended early, and where it runs."""

    beat: int
    ended: bool
    where: str


class Heartbeat:
    """Gives this process's signs of life, and ends it with a line and status 1 when another one is gone.

    `client` is JAX's, of the coordinator at `address` (host:port); this is process `number` of `total`.
    """

    def __init__(self, client: Any, address: str, number: int, total: int):
        self._client, self._address, self._number, self._total = client, address, number, total
        self._sign = Beat(0, False, f"{socket.gethostname()}, process id {os.getpid()}")
        self._seen: dict[int, tuple[Beat, float]] = {}
        self._over = False
        self._last_word = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        # Not Python's signal.signal, whose handler would wait for a main thread that the abort leaves no time.
        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: self._aborted())
        ctypes.CDLL(None).signal(signal.SIGABRT, self._handler)
        self._thread.start()

    def finish(self) -> None:
        """Waits until all processes are done, watching over them; after that each may end at its own time."""
        self._client.wait_at_barrier("candor/done", timeout_in_ms=PATIENCE)
        self._stop()

    def fail(self, error: BaseException) -> None:
        """Tells the others that this process ends early, and they end within seconds; or ends it for the gone one.

        An exchange with a process that is gone fails with a RuntimeError or ValueError, before its silence is noticed.
        """
        if isinstance(error.__cause__ or error, (RuntimeError, ValueError)):
            self._thread.join(SILENCE_SECONDS + 2 * BEAT_SECONDS)
        with suppress(RuntimeError):  # where process 0 is gone as well, which the others see by themselves
            self._stop()
            self._sign = self._sign._replace(ended=True)
            self._publish()
        self._grace_period()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._over:
            verdict = self._round(began) or self._pause()
            if verdict and not self._over:
                self._end(verdict)

    def _stop(self) -> None:
        self._over = True
        self._client.key_value_set(f"{_OVER}/{self._number}", "yes")
        self._thread.join()
        signal.signal(signal.SIGABRT, signal.SIG_DFL)

    def _round(self, began: float) -> str | None:
        """Gives a sign, looks for the others', and says what is wrong with one of them, if anything."""
        try:
            self._publish()
            signs = self._read_beats()
        except RuntimeError:
            return self._lost()
        now = time.monotonic()
        for number, sign in signs.items():
            before, since = self._seen.get(number, (None, began))
            if sign != before:
                self._seen[number] = (sign, now)
            elif now - since > SILENCE_SECONDS:
                return f"{self._named(number)} is gone: no sign of life for {SILENCE_SECONDS:.0f} seconds"
            if sign.ended:
                return f"{self._named(number)} ended early, as a message of its own says"
        return None

    def _pause(self) -> str | None:
        """Waits for BEAT seconds, or until `_stop`; that process 0 is gone shows at once, in what is waited on."""
        try:
            self._client.blocking_key_value_get(f"{_OVER}/{self._number}", int(1_000 * BEAT_SECONDS))
        except RuntimeError as error:
            if not str(error).startswith("DEADLINE_EXCEEDED"):
                return self._lost()
        return None

    def _publish(self) -> None:
        self._sign = self._sign._replace(beat=self._sign.beat + 1)
        beat, ended, where = self._sign
        self._client.key_value_set(f"{_SIGNS}/{self._number}", f"{beat}|{ended:d}|{where}", allow_overwrite=True)

    def _read_beats(self) -> dict[int, Beat]:
        found = {}
        for key, said in self._client.key_value_dir_get(_SIGNS):
            beat, ended, where = said.split("|", 2)
            found[int(key.rpartition("/")[2])] = Beat(int(beat), ended == "1", where)
        return found

    def _named(self, number: int) -> str:
        where = f" ({self._seen[number][0].where})" if number in self._seen else ""
        return f"process {number} of {self._total}{where}"

    def _lost(self) -> str:
        return f"{self._named(0)} is gone: the connection to it broke"

    def _aborted(self) -> None:
        """Runs in the thread in which JAX aborts this process, often before the watching one could say why."""
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=BEAT_SECONDS).close()
        except OSError:
            self._end(self._lost())
        self._end("JAX ended this process, for the reason above")

    def _end(self, verdict: str) -> None:
        # Not by an exception: the main thread may wait in an exchange that nobody answers any more.
        with self._last_word:
            os.write(2, f"error: {verdict}; {_WAY_OUT}\n".encode())
            self._grace_period()
            os._exit(1)

    def _grace_period(self) -> None:
        # The first one holds what the others still have to read.
        if self._number == 0:
            time.sleep(2 * BEAT_SECONDS)
