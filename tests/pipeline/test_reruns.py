"""Which stages a changed key of params.yaml may rerun.

DVC is asked with `--force-downstream`, which takes every output of a rerun stage for changed. It tells what may run, an
upper bound: in truth DVC compares contents and stops where a stage wrote the same bytes as before (the last test).
What it cannot see: a stage that reads a key which dvc.yaml does not name would not rerun at all (test_imports compares
dvc.yaml with the params), and models of the user's own that change in their folder (own_models names them by path).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages import check
from stages.core.params import read_document
from tests.helpers.programs import CHECKOUT
from tests.miniature import plan
from tests.miniature.project import Project, stages_run

# From a changed stage to the page, in words of the table below; `check` reads all of params.yaml and is left out.
MEASURE = "measure curve report"
TUNED = f"finetune evaluate-tuned {MEASURE}"
MIX = f"mix {TUNED}"
FILTER = f"filter {MIX}"
JUDGE = f"judge {FILTER}"
EVALUATE = f"evaluate-base evaluate-tuned {MEASURE}"
PROMPT = f"prompt evaluate-base {JUDGE}"
LESSON = f"lesson {MIX}"
CLEAN = f"clean lesson {PROMPT}"
SUITE = f"suite {CLEAN}"
MODEL = f"base evaluate-base {JUDGE}"

# By key: another value that `check` accepts, and the stages that may rerun when it takes the place of the miniature's.
RERUNS: dict[str, tuple[object, str]] = {
    "seed": (8, SUITE),
    "mix_ratio": (0.5, MIX),
    "models": (["tiny-a", "tiny-b"], MODEL),
    "prompt_format": ("chat", f"{JUDGE} evaluate-base"),
    "own_models": ({"tiny-a": {"from": "own/tiny-b"}}, MODEL),
    "hub": ("own", f"collect instruct {SUITE}"),  # any folder: the miniature has no source of the hub
    "datasets": (["implicatures", "intent_recognition", "metaphor_boolean", "fever"], f"collect {CLEAN}"),
    "instructions": (["qasc_answers", "paraphrases", "winogrande"], f"instruct {CLEAN}"),
    "lessons": (["naming", "words"], LESSON),
    "lesson.texts": (7, LESSON),
    "lesson.user_right": (0.5, LESSON),
    "suites": (["addition"], CLEAN),
    "suite.sums": (8, SUITE),
    "suite.surveyed": (5, SUITE),
    "suite.per_task": (5, SUITE),
    "suite.political_prefix": ("I believe the better option is", SUITE),
    "clean.held_out": (0.3, CLEAN),
    "clean.max_characters": (150, CLEAN),
    "prompt.claims": ("paper", PROMPT),
    "prompt.fidelity": ("reference", SUITE),
    "prompt.count": (40, PROMPT),
    "prompt.most_per_dataset": (0, PROMPT),
    "prompt.held_out_per_dataset": (4, PROMPT),
    "prompt.reworded_per_dataset": (2, PROMPT),
    "judge.dtype": ("float32", JUDGE),
    "filter.require": ("both_orders", FILTER),
    "mix.rows": (20, MIX),
    "mix.phases": ([{"share": 1.0, "weights": {"qasc_answers": 1}}], MIX),
    "mix.validation": (3, MIX),
    "finetune.method": ("lora", TUNED),
    "finetune.steps": (7, TUNED),
    "finetune.batch_size": (3, TUNED),
    "finetune.gradient_accumulation_steps": (2, TUNED),
    "finetune.keep_steps": ([2], TUNED),
    "finetune.optimizer": ("adafactor", TUNED),
    "finetune.learning_rate": (2e-4, TUNED),
    "finetune.schedule": ("cosine", TUNED),
    "finetune.warmup_steps": (1, TUNED),
    "finetune.weight_decay": (0.1, TUNED),
    "finetune.max_grad_norm": (2.0, TUNED),
    "finetune.max_tokens": (192, TUNED),
    "finetune.overlength": ("refuse", TUNED),
    "finetune.save_steps": (3, TUNED),
    "finetune.eval_steps": (3, TUNED),
    "finetune.remat": (True, TUNED),
    "finetune.dtype": ("float32", TUNED),
    "finetune.lora.rank": (8, TUNED),
    "finetune.lora.alpha": (16.0, TUNED),
    "finetune.lora.targets": (["query"], TUNED),
    "evaluate.dtype": ("float32", EVALUATE),
    "evaluate.max_new_tokens": (64, EVALUATE),
    "measure.bootstrap_samples": (200, MEASURE),
}


def test_the_table_has_every_key() -> None:
    assert set(RERUNS) == {*_leaves(read_document(CHECKOUT / "params.yaml"), "")}


def _leaves(values: dict[str, Any], above: str) -> Iterator[str]:
    for name, value in values.items():
        # Models are listed by names that the user chooses: the whole list is one key.
        if isinstance(value, dict) and name != "own_models":
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


@pytest.mark.pipeline
def test_a_changed_key_reruns_what_the_table_says(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    before = Path("params.yaml").read_text(encoding="utf-8")
    texts = [before]
    for key, (value, _) in RERUNS.items():
        project.set(key, value)
        if key != "prompt.fidelity":  # `check` would refuse the reference's prompts without the paper's claims
            check.main()
        texts.append(Path("params.yaml").read_text(encoding="utf-8"))
        Path("params.yaml").write_text(before, encoding="utf-8")
    unchanged, *plans = _plans(project, texts)
    assert unchanged == []
    found = {key: {_word(stage) for stage in plan} for key, plan in zip(RERUNS, plans, strict=True)}
    assert found == {key: {"check", *words.split()} for key, (_, words) in RERUNS.items()}
    assert [stage for stage in plans[[*RERUNS].index("models")] if "tiny-a" in stage] == []
    assert Path("params.yaml").read_text(encoding="utf-8") == before


def _plans(project: Project, texts: list[str]) -> list[list[str]]:
    done = project.run(sys.executable, str(plan.__file__), given=json.dumps(texts))
    assert done.returncode == 0, done.stderr
    plans: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return plans


def _word(stage: str) -> str:
    name, _, item = stage.partition("@")
    return f"{name}-{item.rpartition('-')[2]}" if name == "evaluate" else name


@pytest.mark.pipeline
def test_a_stage_that_writes_the_same_as_before_reruns_nothing(project: Project) -> None:
    project.set("instructions", ["qasc_answers"])
    done = project.dvc("repro", "mix")
    assert done.returncode == 0, done.stderr
    # Fewer instruction pairs, but the same examples: the prompts, and all that is judged, stay.
    assert stages_run(done) == ["clean", "mix@tiny-a"]
