"""Heartbeat between the processes of a run: when one of them is gone, the others name it and end.

Each process publishes a beat in the key-value store of JAX's coordinator, which process 0 runs, and reads the beats of
the others. JAX also notices a lost process, later (JAX_HEARTBEAT_SECONDS), or at once if it is process 0; but it then
aborts the others with a stack trace that does not name the lost one. Here each prints one line that does.
"""

import ctypes
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple

# Seconds between two beats; without a beat until a process counts as gone; until JAX itself ends the others.
BEAT_SECONDS, SILENCE_SECONDS, JAX_HEARTBEAT_SECONDS = 2.0, 30.0, 50
# A day, in milliseconds: the last process to finish may have a large model to write.
FINISH_TIMEOUT_MS = 86_400_000

_BEATS, _FINISHED = "candor/beats", "candor/finished"
_HOW_TO_RESUME = (
    "this process ends too. Half-written outputs do not count: to resume from the last saved state, start all "
    "processes again with the same commands, or fewer of them (CANDOR_PROCESSES)"
)


class Beat(NamedTuple):
    """What a process publishes: a number that grows, whether the process ended early, and where it runs."""

    number: int
    ended: bool
    where: str


class Heartbeat:
    """Publishes this process's beats, and ends it with one line and status 1 when another process is gone.

    `client` is JAX's client of the coordinator at `address` (host:port); this is process `index` of `count`.
    """

    def __init__(self, client: Any, address: str, index: int, count: int):
        self._client, self._address, self._index, self._count = client, address, index, count
        self._beat = Beat(0, False, f"{socket.gethostname()}, process id {os.getpid()}")
        # By process: its last beat, and when it was first read.
        self._latest: dict[int, tuple[Beat, float]] = {}
        self._stopped = False
        # Two threads may find a reason to end the process; the first one prints its line and exits.
        self._exit_lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        # A C handler: JAX aborts in a thread of its own, and a handler of Python's signal.signal would run in the main
        # thread, which the abort leaves no time. The attribute keeps the callback alive.
        self._abort_handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: self._on_abort())
        ctypes.CDLL(None).signal(signal.SIGABRT, self._abort_handler)
        self._thread.start()

    def finish(self) -> None:
        """Waits until all processes have finished, still watching them; after that each may end at any time."""
        self._client.wait_at_barrier("candor/done", timeout_in_ms=FINISH_TIMEOUT_MS)
        self._stop()

    def fail(self, error: BaseException) -> None:
        """Publishes that this process ends early, so that the others end within seconds.

        A collective with a process that is gone fails with a RuntimeError or ValueError before the silence is noticed.
        So after these this waits first, and the heartbeat may end the process with the line that names the lost one.
        """
        if isinstance(error.__cause__ or error, (RuntimeError, ValueError)):
            self._thread.join(SILENCE_SECONDS + 2 * BEAT_SECONDS)
        with suppress(RuntimeError):  # if process 0 is gone as well, which the others notice by themselves
            self._stop()
            self._beat = self._beat._replace(ended=True)
            self._publish()
        self._grace_period()

    def _run(self) -> None:
        started = time.monotonic()
        while not self._stopped:
            reason = self._publish_and_check(started) or self._wait_for_next_beat()
            if reason and not self._stopped:
                self._exit(reason)

    def _stop(self) -> None:
        self._stopped = True
        self._client.key_value_set(f"{_FINISHED}/{self._index}", "yes")
        self._thread.join()
        signal.signal(signal.SIGABRT, signal.SIG_DFL)

    def _publish_and_check(self, started: float) -> str | None:
        """Publishes a beat and reads the others'; returns why this process must end, if another one is gone."""
        try:
            self._publish()
            beats = self._read_beats()
        except RuntimeError:
            return self._coordinator_lost()
        now = time.monotonic()
        for index, beat in beats.items():
            last_beat, since = self._latest.get(index, (None, started))
            if beat != last_beat:
                self._latest[index] = (beat, now)
            elif now - since > SILENCE_SECONDS:
                return f"{self._describe(index)} is gone: no heartbeat for {SILENCE_SECONDS:.0f} seconds"
            if beat.ended:
                return f"{self._describe(index)} ended early; its own output says why"
        return None

    def _wait_for_next_beat(self) -> str | None:
        """Waits for BEAT_SECONDS, or until `_stop`; a lost process 0 is noticed at once, since the wait fails."""
        try:
            self._client.blocking_key_value_get(f"{_FINISHED}/{self._index}", int(1_000 * BEAT_SECONDS))
        except RuntimeError as error:
            if not str(error).startswith("DEADLINE_EXCEEDED"):
                return self._coordinator_lost()
        return None

    def _publish(self) -> None:
        self._beat = self._beat._replace(number=self._beat.number + 1)
        number, ended, where = self._beat
        self._client.key_value_set(f"{_BEATS}/{self._index}", f"{number}|{ended:d}|{where}", allow_overwrite=True)

    def _read_beats(self) -> dict[int, Beat]:
        beats = {}
        for key, value in self._client.key_value_dir_get(_BEATS):
            number, ended, where = value.split("|", 2)
            beats[int(key.rpartition("/")[2])] = Beat(int(number), ended == "1", where)
        return beats

    def _describe(self, index: int) -> str:
        where = f" ({self._latest[index][0].where})" if index in self._latest else ""
        return f"process {index} of {self._count}{where}"

    def _coordinator_lost(self) -> str:
        return f"{self._describe(0)} is gone: the connection to it broke"

    def _on_abort(self) -> None:
        """Runs in the thread in which JAX aborts this process, often before the heartbeat thread could say why."""
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=BEAT_SECONDS).close()
        except OSError:
            self._exit(self._coordinator_lost())
        self._exit("JAX ended this process, for the reason above")

    def _exit(self, reason: str) -> None:
        # Not by an exception: the main thread may wait in a collective that no process answers any more.
        with self._exit_lock:
            os.write(2, f"error: {reason}; {_HOW_TO_RESUME}\n".encode())
            self._grace_period()
            os._exit(1)

    def _grace_period(self) -> None:
        # Process 0 runs the store that the others still have to read.
        if self._index == 0:
            time.sleep(2 * BEAT_SECONDS)
