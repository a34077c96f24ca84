"""data/README.md, the data dictionary, agrees with the code: tables, columns, types, keys, files and report keys."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages import curve
from stages.core.params import read_document
from stages.lm.training.state import TRAIN_LOG_COLUMNS
from stages.stats.breakdown import COLUMNS
from stages.stats.knowledge import knowledge
from stages.stats.measures import HEADLINE
from stages.stats.versions import versions
from stages.tables.schemas import EXAMPLES_RAW, INSTRUCTIONS, JUDGED, SCHEMAS, SWEEP_COLUMNS, TURNS
from stages.text.cleaning.rules import clean_examples, clean_pairs
from stages.text.cleaning.source_report import validation

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "data" / "README.md").read_text(encoding="utf-8")

TYPES = {
    "string": pl.String,
    "boolean": pl.Boolean,
    "float32": pl.Float32,
    "int32": pl.Int32,
    "int64": pl.Int64,
    "list[string]": pl.List(pl.String),
    "list[float32]": pl.List(pl.Float32),
    "list[turn]": TURNS,
}


def section(title: str) -> str:
    """The text under a heading, down to the next heading of any level."""
    match = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", PAGE, re.M | re.S)
    assert match, f"no heading {title}"
    return match[1]


def table(title: str) -> list[list[str]]:
    """The cells of the table under a heading, without its header."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def code_spans(cell: str) -> list[str]:
    """The texts between backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def first_column(title: str) -> list[str]:
    names = [code_spans(row[0])[0] for row in table(title)]
    assert len(set(names)) == len(names)
    return names


def documented_columns(schema: str) -> dict[str, Any]:
    """A schema's columns with their types, in order; those inherited from another schema come first."""
    text = section(f"`{schema}`")
    parent = re.search(r"all columns of `(\w+)`", text, re.I)
    columns = documented_columns(parent[1]) if parent else {}
    own = {code_spans(name)[0]: TYPES[code_spans(kind)[0]] for name, kind, _ in table(f"`{schema}`")}
    assert not columns.keys() & own.keys()
    return columns | own


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_columns_types_and_key_are_the_schemas(schema: Any) -> None:
    assert list(documented_columns(schema.name).items()) == list(schema.columns.items())
    key = re.match(r"\s*Key: (.+?)[.,]", section(f"`{schema.name}`"), re.S)
    assert key
    assert tuple(code_spans(key[1])) == schema.key


def test_every_schema_has_a_section_and_files_and_no_other_has() -> None:
    sections = re.findall(r"^### `(\w+)`$", PAGE, re.M)
    in_files = {code_spans(row[1])[0] for row in table("Tables")}
    assert sorted(sections) == sorted(in_files) == sorted(schema.name for schema in SCHEMAS)


def test_the_turns_are_spelled_out() -> None:
    assert "`list[turn]` stands for\n`list[struct{role: string, text: string}]`" in PAGE
    assert pl.List(pl.Struct({"role": pl.String, "text": pl.String})) == TURNS


def test_every_column_and_key_has_one_line_of_meaning() -> None:
    rows = re.findall(r"^\| `.*$", PAGE, re.M)
    assert len(rows) > 100
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if cells[-1] and not cells[-1].startswith("`"):
            assert cells[-1].endswith("."), row
    for schema in SCHEMAS:
        assert all(len(meaning) > 5 for _, _, meaning in table(f"`{schema.name}`"))


def pattern(path: str) -> str:
    """A file's path with `*` for the names of matrix items and other variable parts."""
    path = path.replace("${item.model}-base", "*").replace("${item.model}-tuned", "*").replace("<model>-<variant>", "*")
    return re.sub(r"\$\{item\.\w+\}|<\w+>", "*", path).replace("*-*", "*")


def pipeline(kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(stage, path) for the files under data/, models/ and reports/ that dvc.yaml lists as one of the kinds."""
    for stage, entry in read_document(ROOT / "dvc.yaml")["stages"].items():
        for kind in kinds:
            for item in entry.get(kind, []):
                path = next(iter(item)) if isinstance(item, dict) else item
                if path.split("/")[0] in ("data", "models", "reports"):
                    yield stage, pattern(path)


def documented_files() -> dict[str, tuple[set[str], set[str]]]:
    """For each path pattern, the stages that write it and those that read it."""
    rows = [*table("Tables"), *table("Model folders"), *table("Reports")]
    files = {pattern(code_spans(row[0])[0]): (set(code_spans(row[-2])), set(code_spans(row[-1]))) for row in rows}
    assert len(files) == len(rows)
    return files


def test_every_output_of_the_pipeline_is_here_with_the_stage_that_writes_it() -> None:
    written = {"reports/sweeps/*.csv": {"candor sweep"}, "models/organisms": {"make organism"}}
    for stage, path in pipeline(("outs", "metrics", "plots")):
        written.setdefault(path, set()).add(stage)
    assert {path: stages for path, (stages, _) in documented_files().items()} == written


def test_the_stages_that_read_a_file_are_those_that_depend_on_it() -> None:
    files = documented_files()
    read: dict[str, set[str]] = {path: set() for path in files}
    for stage, dep in pipeline(("deps",)):
        # `models/${item.variant}/${item.model}` is any model folder, and a folder includes the files in it.
        regex = re.compile(re.escape(dep).replace(r"\*", "[^/]+") + "(/.*)?")
        is_other = dep != "models/checkpoints/*"
        matches = [path for path in files if regex.fullmatch(path) and not (is_other and "checkpoints" in path)]
        assert matches, f"{stage} reads {dep}, which no table in data/README.md names"
        for path in matches:
            read[path].add(stage)
    assert {path: stages for path, (_, stages) in files.items()} == read


def test_every_headline_measure_has_its_meaning_once() -> None:
    assert first_column("`reports/metrics/<model>.json`") == [measure.name for measure in HEADLINE]


def test_the_keys_of_the_versions() -> None:
    assert first_column("`reports/versions/<model>.json`") == list(versions({}, ()))


def test_the_columns_of_the_tables() -> None:
    assert first_column("`reports/tables/<model>.csv`") == list(COLUMNS)


def test_the_keys_of_the_filter_report() -> None:
    row = dict.fromkeys(JUDGED.names) | {
        "dataset": "toys",
        "polarity": "is",
        "claim_is_true": True,
        "correct_choice": 0,
        "cluster": "c",
        "logprobs": [-0.1, -2.0],
        "logprobs_swapped": [-2.0, -0.1],
        "margin": 1.9,
        "margin_swapped": 0.0005,
    }
    report = knowledge(pl.DataFrame([row], schema=JUDGED.columns), "original_order")
    assert first_column("`reports/filter/<model>.json`") == list(report)
    assert json.loads(json.dumps(report)) == report


def test_the_columns_of_the_training_curve() -> None:
    assert first_column("`reports/training/<model>.csv`") == list(TRAIN_LOG_COLUMNS)


def test_the_columns_of_the_steps_curve() -> None:
    assert first_column("`reports/curve/<model>.csv`") == list(curve.COLUMNS)


def test_the_columns_of_a_sweep() -> None:
    assert first_column("`reports/sweeps/<key>.csv`") == list(SWEEP_COLUMNS)


def test_the_counts_of_cleaning() -> None:
    no_texts = pl.Series([], dtype=pl.String)
    row = {"example": "a:0", "dataset": "a", "text": '"fine"', "label": 0, "cluster": "a:fine"}
    example = pl.DataFrame([{name: row.get(name) for name in EXAMPLES_RAW.names}], schema=EXAMPLES_RAW.columns)
    rows = clean_examples(example, no_texts, held_out=1.0, max_characters=9).counts["a"]
    instruction = {"pair": "p:0", "set": "p", "input": "ask", "target": "answer"}
    pair = pl.DataFrame([{name: instruction.get(name) for name in INSTRUCTIONS.names}], schema=INSTRUCTIONS.columns)
    pairs = clean_pairs(pair, no_texts, no_texts).counts["p"]
    scopes = {code_spans(key)[0]: scope for key, scope, _ in table("`reports/data/clean.json`")}
    assert list(scopes) == list(rows)
    assert [key for key, scope in scopes.items() if scope == "both"] == list(pairs)
    assert set(scopes.values()) == {"both", "rows"}


def test_the_keys_of_the_validation_report() -> None:
    row = dict.fromkeys(EXAMPLES_RAW.names) | {"dataset": "a", "text": '"fine"', "label": 0, "label_words": ["Good"]}
    pair = dict.fromkeys(INSTRUCTIONS.names) | {"set": "p", "input": "ask"}
    report = validation(
        pl.DataFrame([row], schema=EXAMPLES_RAW.columns),
        pl.DataFrame([pair], schema=INSTRUCTIONS.columns),
        {},
        {"a": 1, "": 1},
    )
    rows = table("`reports/data/validation.json`")
    scopes = {code_spans(cells[0])[0]: cells[1] for cells in rows if len(cells) == 3}
    assert list(scopes) == list(report["datasets"]["a"])
    assert {key for key, scope in scopes.items() if scope == "both"} == set(report["instructions"]["p"])
    totals = [code_spans(cells[0])[0] for cells in rows if len(cells) == 2 and code_spans(cells[0])]
    assert totals == list(report["total"])
    assert set(report) == {"datasets", "instructions", "total"}
