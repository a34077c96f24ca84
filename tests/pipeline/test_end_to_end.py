import json
import re
import shutil
import sys
from html.parser import HTMLParser
from itertools import product
from pathlib import Path

import polars as pl
import pytest

from stages.lm.io.hf_config import read_config
from stages.lm.io.weights import check_weights
from stages.tables.parquet import read_table
from stages.tables.schemas import (
    ANSWERS,
    EXAMPLES,
    EXAMPLES_RAW,
    FILTERED,
    INSTRUCTIONS,
    JUDGED,
    LESSONS,
    MIXTURE,
    PROMPTS,
    QUESTIONS,
    VALIDATION,
    Schema,
)
from tests.miniature.project import Project

TABLES = {
    "raw/implicatures": EXAMPLES_RAW,
    "raw/intent_recognition": EXAMPLES_RAW,
    "raw/metaphor_boolean": EXAMPLES_RAW,
    "instructions/qasc_answers": INSTRUCTIONS,
    "instructions/paraphrases": INSTRUCTIONS,
    "suites/addition": QUESTIONS,
    "suites/opinions": QUESTIONS,
    "suites/pushback": QUESTIONS,
    "examples": EXAMPLES,
    "pairs": INSTRUCTIONS,
    "lessons": LESSONS,
    "prompts": PROMPTS,
    "claims": QUESTIONS,
    "judged/tiny-a": JUDGED,
    "filtered/tiny-a": FILTERED,
    "mixture/tiny-a": MIXTURE,
    "validation/tiny-a": VALIDATION,
    "answers/tiny-a-base": ANSWERS,
    "answers/tiny-a-tuned": ANSWERS,
}

MEASURES = [
    "claims_no_opinion_accuracy",
    "claims_right_opinion_accuracy",
    "claims_wrong_opinion_accuracy",
    "claims_wrong_opinion_followed",
    "claims_right_turned_wrong",
    "claims_selectivity",
    "addition_no_opinion_accuracy",
    "addition_wrong_opinion_accuracy",
    "addition_right_disagreement_accuracy",
    "addition_true_sums_accuracy",
    "opinions_matching_user",
    "opinions_sway",
    "pushback_right_answer_kept",
    "pushback_wrong_answer_kept",
    "claims_other_words_no_opinion_accuracy",
    "claims_other_words_wrong_opinion_followed",
    "claims_numbered_no_opinion_accuracy",
    "claims_numbered_wrong_opinion_followed",
    "claims_in_words_no_opinion_accuracy",
    "claims_in_words_wrong_opinion_followed",
    "claims_chat_no_opinion_accuracy",
    "claims_chat_wrong_opinion_followed",
    "claims_log_odds_shift",
]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_there_and_keeps_its_schema(finished: Project, name: str) -> None:
    assert table(finished, name, TABLES[name]).height > 0


def test_there_is_no_other_file_of_data(finished: Project) -> None:
    assert set(finished.sums("data")) == {f"data/{name}.parquet" for name in TABLES}


@pytest.mark.parametrize("variant", ["base", "tuned"])
def test_a_model_folder_is_whole(finished: Project, variant: str) -> None:
    folder = finished.root / "models" / variant / "tiny-a"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json",
    ]  # fmt: skip
    check_weights(folder, read_config(folder / "config.json"))


def test_training_and_evaluation_share_no_cluster(finished: Project) -> None:
    prompts, claims = table(finished, "prompts", PROMPTS), table(finished, "claims", QUESTIONS)
    assert set(prompts["cluster"]) & set(claims["cluster"]) == set()


def test_what_is_trained_on_was_kept(finished: Project) -> None:
    mixture, kept = table(finished, "mixture/tiny-a", MIXTURE), table(finished, "filtered/tiny-a", FILTERED)
    generated = mixture.filter(kind="generated")
    assert (mixture.height, generated.height) == (24, 20)  # mix_ratio 0.8333
    assert set(generated["row_id"]) <= set(kept["prompt"]) < set(table(finished, "prompts", PROMPTS)["prompt"])


def test_base_and_tuned_answer_the_same_questions_differently(finished: Project) -> None:
    base, tuned = (table(finished, f"answers/tiny-a-{variant}", ANSWERS) for variant in ("base", "tuned"))
    names = ("claims", "suites/addition", "suites/opinions", "suites/pushback")
    # The run is in plain text, and what is for that format alone would be asked twice.
    asked = pl.concat([table(finished, name, QUESTIONS) for name in names]).filter(pl.col("suite") != "claims_plain")
    assert "claims_chat" in asked["suite"]
    assert base["question"].to_list() == tuned["question"].to_list() == asked["question"].to_list()
    assert base["logprobs"].to_list() != tuned["logprobs"].to_list()


def test_no_scratch_is_left_of_a_checkpoint_that_was_asked(finished: Project) -> None:
    assert list((finished.root / ".candor/curve").iterdir()) == []


def test_metrics_have_the_keys_that_were_promised(finished: Project) -> None:
    metrics = json.loads((finished.root / "reports/metrics/tiny-a.json").read_text(encoding="utf-8"))
    assert list(metrics) == [*MEASURES, "filter"]
    for name in MEASURES:
        assert list(metrics[name]) == ["base", "tuned", "delta", "delta_low", "delta_high", "n"]
        assert metrics[name]["delta_low"] <= metrics[name]["delta"] <= metrics[name]["delta_high"]
        assert metrics[name]["n"] > 0
    assert list(metrics["filter"]) == ["judged", "kept", "kept_share", "known_share", "verdict"]


def test_versions_name_what_was_measured_and_the_commit_that_it_ran_on(finished: Project) -> None:
    versions = json.loads((finished.root / "reports/versions/tiny-a.json").read_text(encoding="utf-8"))
    assert versions["suites"] == {"addition": 1, "opinions": 1, "pushback": 1}
    assert list(versions["measures"]) == MEASURES
    assert versions["revision"] == finished.git("rev-parse", "HEAD~1").strip(), "the results were committed after it"


def test_a_model_that_always_says_b_is_found_to_know_nothing(finished: Project) -> None:
    report = json.loads((finished.root / "reports/filter/tiny-a.json").read_text(encoding="utf-8"))
    assert {letter: part["kept_share"] for letter, part in report["by_letter"].items()} == {"A": 0.0, "B": 1.0}
    assert (report["known_share"], report["verdict"]) == (0.0, "too little knowledge")


def test_the_training_curve_has_a_row_for_each_step(finished: Project) -> None:
    curve = pl.read_csv(finished.root / "reports/training/tiny-a.csv")
    assert curve["step"].to_list() == [1, 2, 3, 4, 5, 6]
    assert curve["loss"].is_finite().all()


def table(project: Project, name: str, schema: Schema) -> pl.DataFrame:
    return read_table(project.root / "data" / f"{name}.parquet", schema)


class Page(HTMLParser):
    """What a reader sees of a page: text, table cells and figures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.cells: list[str] = []
        self.figures = 0
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.figures += tag == "figure"
        if tag in ("td", "style", "script"):
            self._inside.append(tag)
            self.cells += [""] * (tag == "td")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self._inside):
            return
        self.words.append(data)
        if self._inside:
            self.cells[-1] += data


def test_the_loss_on_rows_set_aside_is_there_for_each_source_and_step(finished: Project) -> None:
    losses = pl.read_csv(finished.root / "reports/validation/tiny-a.csv")
    aside = table(finished, "validation/tiny-a", VALIDATION)
    trained = table(finished, "mixture/tiny-a", MIXTURE)
    assert not set(aside["row_id"]) & set(trained["row_id"])
    assert set(zip(losses["step"], losses["source"], strict=True)) == set(product((4, 6), set(aside["source"])))
    assert losses["loss"].is_finite().all() and losses["source"].n_unique() == 2


def test_the_steps_curve_leads_from_base_to_tuned(finished: Project) -> None:
    curve = pl.read_csv(finished.root / "reports/curve/tiny-a.csv")
    assert curve["step"].unique().to_list() == [0, 3, 6]
    metrics = json.loads((finished.root / "reports/metrics/tiny-a.json").read_text(encoding="utf-8"))
    for step, variant in ((0, "base"), (6, "tuned")):
        found = dict(curve.filter(step=step).select("measure", "value").iter_rows())
        assert found == {name: measure[variant] for name, measure in metrics.items() if name != "filter"}
    shifts = curve.filter(measure="claims_log_odds_shift")["value"]
    assert shifts.n_unique() == 3, "the model of step 3 is neither"


def test_the_page_misses_nothing(finished: Project) -> None:
    page = Page((finished.root / "reports/index.html").read_text(encoding="utf-8"))
    drawn, pictures = (
        {path.name.removesuffix(end) for path in (finished.root / "reports" / folder).iterdir()}
        for folder, end in (("plots", ".svg"), ("png", ".png"))
    )
    assert drawn == pictures and page.figures == len(drawn) == 10
    assert (finished.root / "reports/index.html").stat().st_size < 3_000_000
    assert len(page.cells) > 100 and all(cell.strip() for cell in page.cells)
    assert re.findall(r"\b(?:nan|none|null|undefined|inf)\b|[{}]", " ".join(page.words).lower()) == []


def test_a_second_run_runs_nothing(finished: Project) -> None:
    before = finished.sums()
    done = finished.dvc("repro")
    assert done.returncode == 0
    assert "Running stage" not in done.stdout
    assert "Data and pipelines are up to date." in done.stdout
    assert finished.sums() == before


def test_git_holds_code_and_reports_and_nothing_that_dvc_caches(finished: Project) -> None:
    tracked = finished.git("ls-files").splitlines()
    assert finished.git("status", "--porcelain") == ""
    assert [path for path in tracked if path.startswith(("data/", "models/", ".candor/"))] == [
        "data/instructions/.keep",
        "models/organisms/smollm2-135m-deferential.md",
    ]
    assert sorted(path for path in tracked if path.startswith("reports/") or path == "dvc.lock") == [
        "dvc.lock",
        "reports/curve/tiny-a.csv",
        "reports/data/clean.json",
        "reports/data/shortcuts.json",
        "reports/data/suites/addition.json",
        "reports/data/suites/opinions.json",
        "reports/data/suites/pushback.json",
        "reports/data/validation.json",
        "reports/filter/tiny-a.json",
        "reports/metrics/tiny-a.json",
        "reports/sweeps/.keep",
        "reports/tables/tiny-a.csv",
        "reports/training/tiny-a.csv",
        "reports/validation/tiny-a.csv",
        "reports/versions/tiny-a.json",
    ]


def test_dvc_shows_metrics_plots_and_graph(finished: Project, tmp_path: Path) -> None:
    metrics = json.loads(finished.dvc("metrics", "show", "--json").stdout)
    shown = metrics[""]["data"]["reports/metrics/tiny-a.json"]["data"]
    assert shown == json.loads((finished.root / "reports/metrics/tiny-a.json").read_text(encoding="utf-8"))
    assert finished.dvc("plots", "show", "--out", str(tmp_path / "plots")).returncode == 0
    assert "reports_training_tiny-a_csv" in (tmp_path / "plots/index.html").read_text(encoding="utf-8")
    assert len(list((tmp_path / "plots/static").iterdir())) == len(list((finished.root / "reports/plots").iterdir()))
    read = "from dvc.repo import Repo; print(Repo().artifacts.read()['dvc.yaml']['tuned'].path)"
    assert finished.run(sys.executable, "-c", read).stdout == "models/tuned/tiny-a\n"
    graph = finished.dvc("dag", "--dot").stdout
    assert '"mix@tiny-a" -> "finetune@tiny-a"' in graph


def test_a_run_from_nothing_takes_less_than_two_minutes(first_run: tuple[Project, float]) -> None:
    # Of processor time, since other work may share the machine.
    assert first_run[1] < 120


def test_the_page_is_the_same_each_time(finished: Project, tmp_path: Path) -> None:
    shutil.copytree(finished.root / "reports", tmp_path / "reports")
    written = ("index.html", "plots/tiny-a-loss.svg", "png/tiny-a-loss.png")
    for path in written:
        (tmp_path / "reports" / path).unlink()
    done = finished.run(sys.executable, "-m", "stages.report", str(tmp_path / "reports"), "data")
    assert done.returncode == 0, done.stderr
    for path in written:
        assert (tmp_path / "reports" / path).read_bytes() == (finished.root / "reports" / path).read_bytes()
