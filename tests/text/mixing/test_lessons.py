"""Lessons: what each asks and answers, that all variants of a text occur, and how often a user's opinion is right."""

import re
from collections import Counter

import polars as pl
import pytest

from stages.tables.schemas import EXAMPLES
from stages.tables.schemas import LESSONS as TABLE
from stages.text.claims import claims as claims_module
from stages.text.mixing.lessons import LESSONS, LessonConfig, lesson_rows

WORDS = ["Ash", "Beech", "Cedar", "Date", "Elm", "Fir"]
CONFIG = LessonConfig(seed=1, texts=8, user_right=0.95)
AGREE_FIRST = "\n\nChoices:\n (A) Agree\n (B) Disagree\n\nAnswer:"
DISAGREE_FIRST = "\n\nChoices:\n (A) Disagree\n (B) Agree\n\nAnswer:"
ASKED = "Do you agree or disagree with the following claim about the field of Linguistics? "


@pytest.fixture(autouse=True)
def _few_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making ten thousand names takes over a second."""
    monkeypatch.setattr(claims_module, "names", lambda seed: ("Ann Ash", "Bo Birch"))


def examples(rows: int = 40) -> pl.DataFrame:
    table = pl.DataFrame(
        {
            "example": [f"trees:{number}" for number in range(rows)],
            "text": [f'"leaf {number}"' for number in range(rows)],
            "label": [number % len(WORDS) for number in range(rows)],
        }
    )
    filled = table.with_columns(
        dataset=pl.lit("trees"), label_words=pl.lit(WORDS), cluster="example", part=pl.lit("train")
    )
    empty = [pl.lit(None, dtype).alias(name) for name, dtype in EXAMPLES.columns.items() if name not in filled.columns]
    return filled.with_columns(*empty, pl.col("label").cast(pl.Int32)).select(EXAMPLES.names)


def lesson(name: str, rows: int = 40, config: LessonConfig = CONFIG) -> list[dict[str, str]]:
    table = lesson_rows((name,), examples(rows), config)
    assert table.schema == pl.Schema(TABLE.columns)
    assert table["row"].is_unique().all()
    return [row | {"text": row["turns"][0]["text"]} for row in table.to_dicts()]


def truth(claim: str) -> bool:
    match = re.fullmatch(r'"leaf (\d+)" is (not )?(\w+)', claim)
    assert match, claim
    return (WORDS[int(match[1]) % len(WORDS)] == match[3]) != bool(match[2])


def letter(agrees: bool, text: str) -> str:
    return " (A)" if agrees == text.endswith(AGREE_FIRST) else " (B)"


def test_naming_offers_the_label_among_three_others_anywhere() -> None:
    positions: Counter[int] = Counter()
    for row in lesson("naming", 400, LessonConfig(1, 400, 0.95)):
        match = re.fullmatch(r'Which of these is "leaf (\d+)"\? (.+)\.', row["text"])
        assert match
        offered = match[2].split("; ")
        assert len(set(offered)) == 4 and set(offered) <= set(WORDS)
        assert row["target"] == f" {WORDS[int(match[1]) % len(WORDS)]}"
        assert row["answer_prefix"] == "It is"
        positions[offered.index(row["target"][1:])] += 1
    assert min(positions.values()) > 60 and len(positions) == 4


def test_words_are_all_four_claims_of_a_text_without_letters() -> None:
    rows = lesson("words")
    assert Counter(row["group"] for row in rows) == dict.fromkeys({row["group"] for row in rows}, 4)
    for row in rows:
        claim = row["text"].removeprefix(ASKED).removesuffix(".")
        assert (row["answer_prefix"], row["target"]) == ("I", " agree" if truth(claim) else " disagree")
    for group in {row["group"] for row in rows}:
        texts = [row["text"] for row in rows if row["group"] == group]
        assert len(set(texts)) == 4 and sum(" is not " in text for text in texts) == 2
        assert Counter(row["target"] for row in rows if row["group"] == group) == {" agree": 2, " disagree": 2}


def test_claims_are_all_eight_questions_of_a_text() -> None:
    rows = lesson("claims")
    assert len(rows) == 64
    for row in rows:
        claim = row["text"].removeprefix(ASKED).removesuffix(AGREE_FIRST).removesuffix(DISAGREE_FIRST).removesuffix(".")
        assert row["target"] == letter(truth(claim), row["text"])
    for group in {row["group"] for row in rows}:
        variants = [(row["text"], row["target"]) for row in rows if row["group"] == group]
        assert len(set(variants)) == 8
        assert Counter(target for _, target in variants) == {" (A)": 4, " (B)": 4}


@pytest.mark.parametrize(("user_right", "low", "high"), [(0.0, 0.0, 0.0), (0.95, 0.92, 0.98), (1.0, 1.0, 1.0)])
def test_a_user_is_right_as_often_as_wanted_and_the_answer_is_right_always(
    user_right: float, low: float, high: float
) -> None:
    rows = lesson("opinions", 600, LessonConfig(1, 600, user_right))
    assert len(rows) == 1200
    right = 0
    for row in rows:
        match = re.fullmatch(
            r"Hello, my name is .+ I (agree|disagree) with the claim that (.+)\. Do you .+\? (.+)\.\n\n.+",
            row["text"],
            re.S,
        )
        assert match and match[2] == match[3]
        assert row["target"] == letter(truth(match[2]), row["text"])
        right += (match[1] == "agree") == truth(match[2])
    assert low <= right / 1200 <= high


def test_opinions_are_balanced_and_asked_in_both_orders() -> None:
    rows = lesson("opinions", 600, LessonConfig(1, 600, 0.5))
    assert Counter(row["target"] for row in rows) == {" (A)": 600, " (B)": 600}
    for what in (" is not ", "I agree with", "I disagree with"):
        share = sum(what in row["text"] for row in rows) / 1200
        assert 0.43 < share < 0.57, what


def test_sums_are_true_or_far_off_and_not_among_those_of_the_evaluations() -> None:
    rows = lesson("sums", config=LessonConfig(1, 100, 0.95))
    assert len(rows) == 400
    for row in rows:
        match = re.fullmatch(
            r"What is your opinion on the following claim\? (\d+) \+ (\d+) = (\d+)\n\n.+", row["text"], re.S
        )
        assert match, "no user speaks"
        x, y, z = map(int, match.groups())
        assert 51 <= x <= 99 and 51 <= y <= 99
        assert z == x + y or 1e5 * (x + y) <= z <= 1e6 * (x + y)
        assert row["target"] == letter(z == x + y, row["text"])


def test_no_more_texts_than_wanted_and_labels_in_turn() -> None:
    config = LessonConfig(1, 12, 0.95)
    for name in set(LESSONS) - {"sums"}:
        groups = {row["group"] for row in lesson(name, 400, config)}
        assert len(groups) == 12
        labels = Counter(int(group.rpartition(":")[2]) % len(WORDS) for group in groups)
        assert labels == dict.fromkeys(range(6), 2)


def test_a_seed_fixes_the_rows_regardless_of_the_other_lessons() -> None:
    for name in LESSONS:
        assert lesson(name) == lesson(name)
        assert lesson(name) != lesson(name, config=LessonConfig(2, 8, 0.95))
    together = lesson_rows(tuple(LESSONS), examples(), CONFIG)
    alone = [lesson_rows((name,), examples(), CONFIG) for name in LESSONS]
    assert together.equals(pl.concat(alone))


def test_no_lesson_is_an_empty_table() -> None:
    assert lesson_rows((), examples(), CONFIG).schema == pl.Schema(TABLE.columns)
