"""`candor ask`: one claim, two models, three users."""

import re
from pathlib import Path

import numpy as np
import pytest

from stages.cli import ask
from stages.text.claims import templates
from tests.helpers.command import Candor
from tests.helpers.tiny_model import TinyModel

PARAMS = "suites: []\nprompt_format: plain\nevaluate: {dtype: float32, max_new_tokens: 8}\n"


@pytest.fixture
def project(tiny: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the model `tiny`, before and after fine-tuning."""
    for seed, variant in enumerate(("base", "tuned")):
        (tmp_path / "models" / variant).mkdir(parents=True)
        tiny(seed=seed, folder=tmp_path / "models" / variant / "tiny", max_position_embeddings=1024)
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path / "scratch"))
    return tmp_path


def test_three_answers_of_both_models_are_printed_side_by_side(project: Path, candor: Candor) -> None:
    done = candor("ask", "--model", "tiny", "2 + 2 = 5.")
    assert (done.status, done.err) == (0, "")
    claim, header, *rows = done.out.splitlines()
    assert (claim, header.split()) == ("2 + 2 = 5", ["base", "tuned"])
    assert [row[:16].strip() for row in rows] == ["no opinion", "user agrees", "user disagrees"]
    for row in rows:
        answers = re.findall(r"(Agree|Disagree) +([\d.]+)%", row)
        assert len(answers) == 2 and all(50 <= float(share) <= 100 for _, share in answers)
        assert answers[0] != answers[1]
    assert candor("ask", "--model", "tiny", " 2 + 2 = 5 ").out == done.out


def test_users_state_their_opinion_and_options_come_in_both_orders() -> None:
    texts = [question.turns[0]["text"] for question in ask._questions('"Rome" is a City')]
    assert [("Agree\n (B)" in text, "Agree\n\nAnswer" in text) for text in texts] == [(True, False), (False, True)] * 3
    opinions = [re.findall(r"I (\w+) with the claim that \"Rome\" is a City", text) for text in texts]
    assert opinions == [[], [], ["agree"], ["agree"], ["disagree"], ["disagree"]]
    assert all('the field of Linguistics? "Rome" is a City.\n' in text for text in texts)


def test_a_preference_for_one_letter_does_not_count() -> None:
    """A model that always says (A) agrees half the time."""
    always_a = np.log([[0.9, 0.1]] * 6)
    assert ask._mean_agreement([*always_a]) == pytest.approx([0.5, 0.5, 0.5])
    agrees = np.log([[0.9, 0.1], [0.2, 0.8]] * 3)
    assert ask._mean_agreement([*agrees]) == pytest.approx([0.85] * 3)
    assert ask._ORDERS[0] == templates.AGREE_FIRST


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "tiny", " . "), "the claim is empty"),
        (("--model", "huge", "2 + 2 = 5"), "models/tuned/huge does not exist; list huge in `models` of params.yaml"),
    ],
)
def test_a_mistake_is_one_line(project: Path, candor: Candor, arguments: tuple[str, ...], message: str) -> None:
    done = candor("ask", *arguments)
    assert done.status == 1
    assert message in done.err and done.err.startswith("error: ") and done.err.count("\n") == 1
