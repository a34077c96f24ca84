"""What once went wrong and must not again, across the libraries."""

import io
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.params.finetune import FinetuneParams
from stages.params.mix import MixParams
from stages.project.errors import UserError, run
from stages.project.params import read_params
from stages.project.progress import progress
from stages.stats.knowledge import knowledge
from stages.text.bigbench import read_choices
from stages.text.claims import training_prompts
from stages.text.cleaning import clean_examples
from stages.text.tables import EXAMPLES, EXAMPLES_RAW, JUDGED, write_table

NOTHING = pl.Series([], dtype=pl.String)


def rows(*made: tuple[str, str, int, str]) -> pl.DataFrame:
    table = [
        {"example": f"{d}:{i}", "dataset": d, "text": t, "label": k, "cluster": c, "label_words": ["A", "B", "C"]}
        for i, (d, t, k, c) in enumerate(made)
    ]
    return pl.DataFrame([{n: row.get(n) for n in EXAMPLES_RAW.names} for row in table], schema=EXAMPLES_RAW.columns)


def test_the_label_alone_does_not_give_the_truth_away() -> None:
    n = 4000  # nine in ten examples have label 1
    table = rows(*[("a", f'"{i}"', 1 if i % 10 else i // 10 % 2 * 2, f"a:{i}") for i in range(n)])
    examples = table.with_columns(part=pl.lit("train")).select(EXAMPLES.names)
    prompts = training_prompts(examples, 1, "balanced", 300, 300).with_columns(
        shown=pl.col("claim").str.extract(r" (\w)$")
    )
    seen = Counter(prompts.select("shown", "polarity", "true").iter_rows())
    right = sum(max(seen[s, p, True], seen[s, p, False]) for s in "ABC" for p in ("is", "is not"))
    assert right / prompts.height < 0.6


def test_a_held_out_text_does_not_stand_in_a_training_example() -> None:
    claim = "The harbour of Oberlund is full"
    made = [("a", f'"{claim}."', 0, f"a:{i}") for i in range(1)]
    made += [("b", f'"A page {i}." and "{claim} ."', 0, f"b:page {i}") for i in range(20)]
    passed = clean_examples(rows(*made), NOTHING, 0.5, 200).table
    sides = {part for part, text in passed.select("part", "text").iter_rows() if claim in text}
    assert len(sides) == 1


@pytest.mark.parametrize("key", ["seed: 7", "mix_ratio: 0.1"])
def test_a_top_level_key_in_a_section_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"seed: 1\nmix_ratio: 0.5\nmix:\n  rows: 3\n  {key}\n")
    with pytest.raises(UserError, match=rf"mix\.{key.split(':')[0]} "):
        read_params(MixParams, path)


@pytest.mark.parametrize("key", ["learning_rate", "weight_decay", "clip_norm"])
def test_infinity_is_refused(tmp_path: Path, key: str) -> None:
    from stages.project.params import read_document

    document = read_document(Path("presets/default.yaml"))
    document["finetune"][key] = float("inf")
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(document).replace("Infinity", ".inf"))
    with pytest.raises(UserError, match=f"finetune.{key} is inf"):
        read_params(FinetuneParams, path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\nseed: 1\n", "\nseed: 1\n1: 2\n", "1: no such key"),
        ("suites: [addition]\n", "suites: []\n", "suites is empty"),
    ],
)
def test_check(old: str, new: str, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from stages.check import main

    text = Path("presets/default.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new))
    with pytest.raises(UserError, match=said):
        main()


def test_ctrl_c_in_a_command_says_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["stage"])
    with pytest.raises(SystemExit) as ended:
        run(interrupted)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "stopped: nothing half-written was left; the same command goes on from here\n"


def test_the_bar_is_on_standard_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress("asking", 4, "questions") as advance:
        advance(4)
    assert capsys.readouterr().out == ""
    assert "4/4 questions" in terminal.getvalue()


def test_nothing_judged_is_a_users_mistake() -> None:
    with pytest.raises(UserError):
        knowledge(pl.DataFrame(schema=JUDGED.columns), "original_order")


def test_no_example_left_is_still_a_table(tmp_path: Path) -> None:
    passed = clean_examples(rows(("a", '"long"', 0, "a:0")), NOTHING, 0.5, 3).table
    write_table(passed.select(EXAMPLES.names), EXAMPLES, tmp_path / "t")


def test_every_count_is_there_for_every_set() -> None:
    counts = clean_examples(rows(("a", '"x"', 0, "a:0")), NOTHING, 1e-9, 99).counts
    assert counts["a"]["held_out"] == 0


@pytest.mark.parametrize(
    "example",
    ["text", {"input": "a", "target_scores": {"x": "1", "y": 0}}, {"input": "a", "target_scores": {"x": None, "y": 0}}],
)
def test_odd_examples_name_file_and_row(tmp_path: Path, example: Any) -> None:
    path = tmp_path / "task.json"
    path.write_text(json.dumps({"examples": [example]}))
    with pytest.raises(UserError, match=r"task\.json, example 0: "):
        read_choices(path)


def test_columns_in_another_order_are_refused(tmp_path: Path) -> None:
    table = pl.DataFrame(schema=EXAMPLES.columns)
    with pytest.raises(UserError):
        write_table(table.select(reversed(table.columns)), EXAMPLES, tmp_path / "t")


def test_a_second_writer_leaves_the_first_ones_file(tmp_path: Path) -> None:
    from stages.project.files import whole_file

    with whole_file(tmp_path / "t") as one:
        one.write_bytes(b"one")
        with whole_file(tmp_path / "t") as other:
            other.write_bytes(b"other")
            assert one.exists()
