"""Stage `judge`: each prompt gets the scores of its own twins in both option orders, whatever the batch sizes."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import judge
from stages.lm.io.load import open_model
from stages.lm.nn.dtypes import compute_dtype
from stages.lm.nn.sharding import device_mesh
from stages.lm.scoring import questions, scorer
from stages.lm.scoring.forward import score_trees
from stages.lm.tokens import continuation
from stages.lm.tokens.question_tree import encode_question
from stages.tables import parquet
from stages.tables.parquet import read_table, write_table
from stages.tables.schemas import JUDGED, PROMPTS
from tests.helpers.tiny_model import TinyModel

TWINS = {"no_opinion_turns": "is it so {}", "no_opinion_turns_swapped": "so is it {}"}


@pytest.fixture(autouse=True)
def project(tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model in `base` and eleven prompts, in the folder that the test runs in."""
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    tiny(seed=4, folder=Path("base"))
    Path("params.yaml").write_text("prompt_format: plain\njudge: {dtype: float32}\n", encoding="utf-8")
    rows = [
        {"prompt": f"p{number}", "answer_prefix": "I say", "choices": [" (A)", " (B)"], "correct_choice": 0}
        | {name: [{"role": "user", "text": text.format("no " * number)}] for name, text in TWINS.items()}
        for number in range(11)
    ]
    write_table(pl.DataFrame(rows, schema=PROMPTS.columns), PROMPTS, Path("prompts.parquet"))


def judged(out: str) -> pl.DataFrame:
    judge.main(Path("prompts.parquet"), Path("base"), Path(out))
    return read_table(Path(out), JUDGED)


def score(text: str) -> list[float]:
    model = open_model(Path("base"))
    tree = encode_question(model.tokenizer, f"Human: {text}\n\nAssistant: I say", [" (A)", " (B)"], 128)
    [batch] = score_trees(model.decoder, [tree], compute_dtype("float32"), device_mesh())
    values: list[float] = batch.logprobs[0].tolist()
    return values


def test_each_prompt_gets_the_scores_of_its_twins() -> None:
    table = judged("judged.parquet")
    assert table["prompt"].to_list() == [f"p{number}" for number in range(11)]
    for column, text in zip(("logprobs", "logprobs_swapped"), TWINS.values(), strict=True):
        assert table[column].to_list() == [score(text.format("no " * number)) for number in range(11)]
    for margin, column in (("margin", "logprobs"), ("margin_swapped", "logprobs_swapped")):
        first, second = np.array(table[column].to_list(), np.float32).T
        np.testing.assert_array_equal(table[margin], abs(first - second))


def test_batch_sizes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of 4 rows, 5 questions, 3 texts and 6 trees, which do not end together."""
    expected = judged("expected.parquet")
    monkeypatch.setattr(parquet, "ROWS", 4)
    monkeypatch.setattr(questions, "RENDER_BATCH", 5)
    monkeypatch.setattr(continuation, "ENCODE_BATCH", 3)
    monkeypatch.setattr(scorer, "chunk_size", lambda tokens, groups: 6)
    monkeypatch.setenv("CANDOR_HOME", "elsewhere")
    assert judged("batches.parquet").equals(expected)


def test_no_prompts_give_an_empty_table() -> None:
    write_table(pl.DataFrame(schema=PROMPTS.columns), PROMPTS, Path("prompts.parquet"))
    assert judged("judged.parquet").height == 0
