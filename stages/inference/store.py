"""The answer cache on disk: a model's answers by the content of the question, so that none is computed twice.

One SQLite file in `.candor/answers/` for each model, arithmetic and code, with a row for each question: its
log-probabilities (float32) or the token ids of a generated answer (int32). Rows survive a killed process; a damaged row
or file counts as unknown and is written again.
"""

import sqlite3
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.core.hashing import code_of, hash_of
from stages.core.scratch import scratch_dir

# The folders whose code determines an answer: a change in any of them starts a new store.
ROOMS = ("lm/nn", "lm/io", "lm/tokens", "lm/scoring", "lm/generation")
# A killed process loses at most this much work.
SECONDS_BETWEEN_COMMITS = 10.0
_KEYS_PER_QUERY = 500
_DTYPES = {np.dtype(np.float32).str, np.dtype(np.int32).str}
_TABLES = (
    "CREATE TABLE IF NOT EXISTS about (model TEXT, arithmetic TEXT)",
    "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, dtype TEXT, data BLOB, checksum INTEGER) WITHOUT ROWID",
)


class AnswerStore:
    """Answers of one model in one arithmetic, by the key of the question; use `open_store` to get one."""

    def __init__(self, path: Path, model: str, arithmetic: str):
        self.path = path
        self._about = (model, arithmetic)
        self._open()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The arrays of those keys that are stored."""
        try:
            return dict(self._rows(keys))
        except sqlite3.DatabaseError as error:
            self._start_over(error)
            return {}

    def put(self, values: Mapping[bytes, np.ndarray]) -> None:
        """Stores float32 or int32 arrays; they are on disk after at most ten seconds, or when the store is closed."""
        rows = [_row(key, array) for key, array in values.items()]
        try:
            self._insert(rows)
        except sqlite3.DatabaseError as error:
            self._start_over(error)
            self._insert(rows)

    def close(self) -> None:
        """Writes everything to disk and closes the file."""
        self._database.commit()
        self._database.close()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._committed = time.monotonic()
        try:
            self._database = sqlite3.connect(self.path, timeout=60.0)
            for table in _TABLES:
                self._database.execute(table)
            if self._database.execute("SELECT count(*) FROM about").fetchone() == (0,):
                self._database.execute("INSERT INTO about VALUES (?, ?)", self._about)
            self._database.commit()
        except sqlite3.DatabaseError as error:
            self._start_over(error)

    def _rows(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            batch = keys[start : start + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(batch))
            query = f"SELECT key, dtype, data, checksum FROM answers WHERE key IN ({marks})"
            for key, dtype, data, checksum in self._database.execute(query, batch):
                if dtype in _DTYPES and isinstance(data, bytes) and checksum == _checksum(key, dtype, data):
                    yield key, np.frombuffer(data, dtype)

    def _insert(self, rows: Sequence[tuple[bytes, str, bytes, int]]) -> None:
        self._database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
        if time.monotonic() - self._committed >= SECONDS_BETWEEN_COMMITS:
            self._database.commit()
            self._committed = time.monotonic()

    def _start_over(self, error: sqlite3.DatabaseError) -> None:
        if isinstance(error, sqlite3.OperationalError):
            raise OSError(error.sqlite_errorcode, str(error), str(self.path)) from error
        print(
            f"{self.path} is damaged ({error}); it is replaced, and its questions are computed again",
            file=sys.stderr,
        )
        self._database.close()
        self.path.unlink()
        self._open()


def _row(key: bytes, array: np.ndarray) -> tuple[bytes, str, bytes, int]:
    dtype, data = array.dtype.str, array.tobytes()
    assert dtype in _DTYPES, dtype
    return key, dtype, data, _checksum(key, dtype, data)


def _checksum(key: bytes, dtype: str, data: bytes) -> int:
    return zlib.crc32(key + dtype.encode() + data)


@contextmanager
def open_store(model: Path, arithmetic: str) -> Iterator[AnswerStore]:
    """The store for answers of a model folder in an arithmetic, as computed by the current code."""
    weights = sorted([*model.glob("*.safetensors"), model / "config.json"])
    name = hash_of([*weights, *code_of(*ROOMS)], arithmetic)
    with closing(AnswerStore(folder() / f"{name}.sqlite", str(model), arithmetic)) as store:
        yield store


def folder() -> Path:
    """The folder of all stores."""
    return scratch_dir() / "answers"


@dataclass(frozen=True)
class StoreInfo:
    """A store on disk: its model and arithmetic, how many questions and bytes, and when it was last used."""

    path: Path
    model: str
    arithmetic: str
    questions: int
    bytes: int
    used: float


def list_stores() -> list[StoreInfo]:
    """All stores, the one used last first; a damaged one has no model and no questions."""
    stores = [_info(path) for path in folder().glob("*.sqlite")]
    return sorted(stores, key=lambda store: (-store.used, store.path.name))


def _info(path: Path) -> StoreInfo:
    status = path.stat()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            model, arithmetic = database.execute("SELECT model, arithmetic FROM about").fetchone()
            [questions] = database.execute("SELECT count(*) FROM answers").fetchone()
    except (sqlite3.DatabaseError, TypeError):
        model, arithmetic, questions = "(damaged)", "", 0
    return StoreInfo(path, model, arithmetic, questions, status.st_size, status.st_mtime)


def drop(stores: Sequence[StoreInfo]) -> None:
    """Deletes stores."""
    for store in stores:
        store.path.unlink(missing_ok=True)
