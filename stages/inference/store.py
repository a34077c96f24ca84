"""The score store: what a model answered to a question, by content, so that nothing is asked twice.

One SQLite file in `.candor/scores/` for each model, arithmetic and code; a row for each question. What is kept survives
a killed process; a damaged row or file counts as unknown and is written anew.
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

from stages.core import hashing
from stages.core.scratch import scratch_dir

# At most so much work is lost when the process is killed.
SECONDS_BETWEEN_COMMITS = 10.0
_AT_ONCE = 500  # keys in one query
_TABLES = (
    "CREATE TABLE IF NOT EXISTS about (model TEXT, arithmetic TEXT)",
    "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, logprobs BLOB, sum INTEGER) WITHOUT ROWID",
)


class AnswerStore:
    """Scores of one model in one arithmetic, by a question's key; made by `score_store`."""

    def __init__(self, path: Path, model: str, arithmetic: str):
        self._path = path
        self._about = (model, arithmetic)
        self._open()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """The log-probabilities, float32, of those keys that are known."""
        try:
            return dict(self._rows(keys))
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)
            return {}

    def put(self, scores: Mapping[bytes, np.ndarray]) -> None:
        """Keeps scores; on disk at the latest ten seconds later or when the store is closed."""
        rows = [(key, values.tobytes(), _sum(key, values.tobytes())) for key, values in scores.items()]
        try:
            self._insert(rows)
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)
            self._insert(rows)

    def close(self) -> None:
        """Writes what is not yet on disk."""
        self._database.commit()
        self._database.close()

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._committed = time.monotonic()
        try:
            self._database = sqlite3.connect(self._path, timeout=60.0)
            for table in _TABLES:
                self._database.execute(table)
            if self._database.execute("SELECT count(*) FROM about").fetchone() == (0,):
                self._database.execute("INSERT INTO about VALUES (?, ?)", self._about)
            self._database.commit()
        except sqlite3.DatabaseError as error:
            self._begin_anew(error)

    def _rows(self, keys: Sequence[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
        for start in range(0, len(keys), _AT_ONCE):
            taken = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(taken))
            query = f"SELECT key, logprobs, sum FROM scores WHERE key IN ({marks})"
            for key, held, checked in self._database.execute(query, taken):
                if isinstance(held, bytes) and checked == _sum(key, held):
                    yield key, np.frombuffer(held, np.float32)

    def _insert(self, rows: Sequence[tuple[bytes, bytes, int]]) -> None:
        self._database.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)
        if time.monotonic() - self._committed >= SECONDS_BETWEEN_COMMITS:
            self._database.commit()
            self._committed = time.monotonic()

    def _begin_anew(self, error: sqlite3.DatabaseError) -> None:
        if isinstance(error, sqlite3.OperationalError):
            raise OSError(error.sqlite_errorcode, str(error), str(self._path)) from error
        said = f"{self._path} is damaged ({error}); it is begun anew, and its questions are asked again"
        print(said, file=sys.stderr)
        self._database.close()
        self._path.unlink()
        self._open()


def _sum(key: bytes, held: bytes) -> int:
    return zlib.crc32(key + held)


@contextmanager
def open_store(model: Path, arithmetic: str) -> Iterator[AnswerStore]:
    """The store of a model folder's scores in an arithmetic, as the code stands."""
    weights = sorted([*model.glob("*.safetensors"), model / "config.json"])
    name = hashing.hash_of([*weights, *hashing.code_of("stages/lm")], arithmetic)
    with closing(AnswerStore(folder() / f"{name}.sqlite", str(model), arithmetic)) as store:
        yield store


def folder() -> Path:
    """Where the stores lie."""
    return scratch_dir() / "scores"


@dataclass(frozen=True)
class StoreInfo:
    """A store as it lies there: its model and arithmetic, how many questions and bytes, and when it was last used."""

    path: Path
    model: str
    arithmetic: str
    questions: int
    bytes: int
    used: float


def list_stores() -> list[StoreInfo]:
    """All stores, the one used last first; a damaged one has no model and no questions."""
    found = [_held(path) for path in folder().glob("*.sqlite")]
    return sorted(found, key=lambda store: (-store.used, store.path.name))


def _held(path: Path) -> StoreInfo:
    status = path.stat()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            model, arithmetic = database.execute("SELECT model, arithmetic FROM about").fetchone()
            [questions] = database.execute("SELECT count(*) FROM scores").fetchone()
    except (sqlite3.DatabaseError, TypeError):
        model, arithmetic, questions = "(damaged)", "", 0
    return StoreInfo(path, model, arithmetic, questions, status.st_size, status.st_mtime)


def drop(stores: Sequence[StoreInfo]) -> None:
    """Deletes stores."""
    for store in stores:
        store.path.unlink(missing_ok=True)
