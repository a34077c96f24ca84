"""The answer store: stored answers are found, damaged rows and files are not, and each model has its own store."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stages.core.hashing import PACKAGE
from stages.inference.store import ROOMS, AnswerStore, drop, list_stores, open_store

ONE, TWO, THREE = (bytes([number]) * 16 for number in (1, 2, 3))
VALUES = {ONE: np.array([-0.5, -1.5], np.float32), TWO: np.array([-2.0], np.float32)}


@pytest.fixture(autouse=True)
def in_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(Path(__file__).parents[2])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store with two rows."""
    path = tmp_path / "one.sqlite"
    store = AnswerStore(path, "models/base/tiny", "float32")
    store.put(VALUES)
    store.close()
    return path


def stored(path: Path) -> dict[bytes, list[float]]:
    store = AnswerStore(path, "models/base/tiny", "float32")
    rows = {key: values.tolist() for key, values in store.get([THREE, TWO, ONE]).items()}
    store.close()
    return rows


def test_stored_answers_are_found_again(path: Path) -> None:
    assert stored(path) == {ONE: [-0.5, -1.5], TWO: [-2.0]}


def test_many_keys_in_one_call(path: Path) -> None:
    store = AnswerStore(path, "models/base/tiny", "float32")
    many = {number.to_bytes(16): np.array([number], np.float32) for number in range(2000)}
    store.put(many)
    assert {key: values.tolist() for key, values in store.get(list(many)).items()} == {
        key: values.tolist() for key, values in many.items()
    }
    store.close()


@pytest.mark.parametrize(
    "damage",
    [
        "data = x'00000000'",
        "checksum = checksum + 1",
        "data = 'text'",
        "checksum = NULL",
        "data = NULL",
        "dtype = '<i4'",
        "dtype = 'O'",
    ],
)
def test_a_damaged_row_counts_as_unknown_and_can_be_stored_again(path: Path, damage: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE answers SET {damage} WHERE key = ?", [ONE])
    database.close()
    assert stored(path) == {TWO: [-2.0]}
    store = AnswerStore(path, "models/base/tiny", "float32")
    store.put({ONE: VALUES[ONE]})
    store.close()
    assert stored(path) == {ONE: [-0.5, -1.5], TWO: [-2.0]}


@pytest.mark.parametrize("offset", [0, 5000])
def test_a_damaged_file_is_replaced(path: Path, offset: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Damage in the header is noticed when the file is opened, damage in the rows when they are read."""
    content = bytearray(path.read_bytes())
    content[offset : offset + 4000] = b"x" * 4000
    path.write_bytes(content)
    assert stored(path) == {}
    assert f"{path} is damaged (" in (stderr := capsys.readouterr().err) and stderr.count("\n") == 1
    store = AnswerStore(path, "models/base/tiny", "float32")
    store.put(VALUES)
    store.close()
    assert stored(path) == {ONE: [-0.5, -1.5], TWO: [-2.0]}


def test_an_unusable_store_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "one.sqlite").mkdir()
    with pytest.raises(OSError, match="unable to open database file") as caught:
        AnswerStore(tmp_path / "one.sqlite", "models/base/tiny", "float32")
    assert caught.value.filename == str(tmp_path / "one.sqlite")


def test_answers_are_on_disk_after_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process does not close its store, so answers must be committed before."""
    store = AnswerStore(path, "models/base/tiny", "float32")
    store.put({THREE: np.zeros(1, np.float32)})
    assert THREE not in stored(path)
    monkeypatch.setattr("stages.inference.store.SECONDS_BETWEEN_COMMITS", 0.0)
    store.put({})
    assert THREE in stored(path)
    store.close()


def test_at_most_the_last_ten_seconds_are_not_on_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is stored every 1.5 seconds; another reader misses fewer than seven of them."""
    now = 0.0
    monkeypatch.setattr("stages.inference.store.time", SimpleNamespace(monotonic=lambda: now))
    store = AnswerStore(path, "models/base/tiny", "float32")
    missing = set()
    with closing(sqlite3.connect(path)) as reader:
        for number in range(40):
            now += 1.5
            store.put({bytes([100 + number]) * 16: np.zeros(1, np.float32)})
            [on_disk] = reader.execute("SELECT count(*) FROM answers").fetchone()
            missing.add(len(VALUES) + number + 1 - on_disk)
    assert missing == {0, 1, 2, 3, 4, 5, 6}
    store.close()


def test_weights_arithmetic_and_code_each_have_their_own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}", encoding="utf-8")
    weights = model / "model.safetensors"

    def store_count(arithmetic: str) -> int:
        with open_store(model, arithmetic) as store:
            store.put(VALUES)
        return len(list_stores())

    weights.write_bytes(b"1")
    assert (store_count("float32"), store_count("float32"), store_count("bfloat16")) == (1, 1, 2)
    weights.write_bytes(b"2")
    assert store_count("float32") == 3
    (model / "config.json").write_text("{ }", encoding="utf-8")
    assert store_count("float32") == 4
    code = tmp_path / "stages"
    shutil.copytree(PACKAGE / "lm", code / "lm")
    monkeypatch.setattr("stages.core.hashing.PACKAGE", code)
    assert store_count("float32") == 4, "the same code in another folder"
    for elsewhere in ("lm/training/step.py", "lm/gguf/reader.py", "lm/lora/adapters.py"):
        (code / elsewhere).write_text("changed\n", encoding="utf-8")
    assert store_count("float32") == 4, "code that no answer depends on"
    for number, room in enumerate(ROOMS, start=5):
        (code / room / "__init__.py").write_text("changed\n", encoding="utf-8")
        assert store_count("float32") == number


def test_a_store_does_not_depend_on_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    paths = []
    for current in (Path(__file__).parents[2], tmp_path):
        monkeypatch.chdir(current)
        with open_store(tmp_path, "float32") as store:
            paths.append(store.path)
    assert paths[0] == paths[1]


def test_token_ids_are_stored_exactly(tmp_path: Path) -> None:
    """Including large ids that float32 cannot distinguish."""
    ids = np.array([2**24, 2**24 + 1, 2**31 - 1], np.int32)
    with closing(AnswerStore(tmp_path / "one.sqlite", "models/base/tiny", "float32")) as store:
        store.put({ONE: ids})
        result = store.get([ONE])[ONE]
    assert result.dtype == np.int32 and result.tolist() == ids.tolist()


def test_stores_are_listed_and_dropped(tmp_path: Path) -> None:
    folder = tmp_path / "home/answers"
    for name in ("first", "second"):
        store = AnswerStore(folder / f"{name}.sqlite", f"models/base/{name}", "float32")
        store.put(VALUES)
        store.close()
    (folder / "third.sqlite").write_bytes(b"no database" * 1000)
    listed = {store.model: store.questions for store in list_stores()}
    assert listed == {"models/base/first": 2, "models/base/second": 2, "(damaged)": 0}
    drop([store for store in list_stores() if store.questions == 0])
    assert {store.model for store in list_stores()} == {"models/base/first", "models/base/second"}
