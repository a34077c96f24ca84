"""`judge` and `evaluate` use the prompt format of params.yaml; the expected texts are literals here."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import evaluate, judge
from stages.lm.io.load import open_model
from stages.lm.nn.dtypes import compute_dtype
from stages.lm.nn.sharding import device_mesh
from stages.lm.scoring.forward import score_trees
from stages.lm.tokens.question_tree import encode_question
from stages.tables.parquet import read_table, write_table
from stages.tables.schemas import ANSWERS, JUDGED, PROMPTS, QUESTIONS
from tests.helpers.tiny_model import TinyModel

TEMPLATE = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
# In both formats, the assistant's turn begins with the answer prefix.
TEXTS = {"plain": "Human: is it so\n\nAssistant: I say", "chat": "[user]is it so<|end|>[assistant]I say"}
QUESTION = {
    "turns": [{"role": "user", "text": "is it so"}],
    "answer_prefix": "I say",
    "choices": [" (A)", " (B)"],
    "answer_kind": "choice",
    "correct_choice": 0,
}


@pytest.fixture(params=TEXTS)
def expected(
    request: pytest.FixtureRequest,
    tiny: TinyModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> np.ndarray:
    """The log-probabilities of both choices after the text of a format, which is set in the project's params.yaml."""
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    tiny(seed=4, folder=tmp_path / "base")
    keys = json.loads(Path("base/tokenizer_config.json").read_text(encoding="utf-8"))
    Path("base/tokenizer_config.json").write_text(json.dumps(keys | {"chat_template": TEMPLATE}), encoding="utf-8")
    sections = "judge: {dtype: float32}\nevaluate: {dtype: float32, max_new_tokens: 8}\n"
    Path("params.yaml").write_text(f"prompt_format: {request.param}\nsuites: []\n{sections}", encoding="utf-8")
    model = open_model(tmp_path / "base")
    tree = encode_question(model.tokenizer, TEXTS[request.param], [" (A)", " (B)"], 128)
    [batch] = score_trees(model.decoder, [tree], compute_dtype("float32"), device_mesh())
    return batch.logprobs[0]


def test_judge_uses_the_format(expected: np.ndarray) -> None:
    turns = QUESTION["turns"]
    row = QUESTION | {"prompt": "one", "no_opinion_turns": turns, "no_opinion_turns_swapped": turns}
    write_table(pl.DataFrame([row], schema=PROMPTS.columns), PROMPTS, Path("prompts.parquet"))
    judge.main(Path("prompts.parquet"), Path("base"), Path("judged.parquet"))
    [logprobs] = read_table(Path("judged.parquet"), JUDGED)["logprobs"].to_list()
    np.testing.assert_array_equal(logprobs, expected)


def test_evaluate_uses_the_format(expected: np.ndarray) -> None:
    row = QUESTION | {"suite": "claims", "question": "one", "shared_prefix": ""}
    write_table(pl.DataFrame([row], schema=QUESTIONS.columns), QUESTIONS, Path("claims.parquet"))
    evaluate.main(Path("suites"), Path("claims.parquet"), Path("base"), Path("answers.parquet"))
    [logprobs] = read_table(Path("answers.parquet"), ANSWERS)["logprobs"].to_list()
    np.testing.assert_array_equal(logprobs, expected)
