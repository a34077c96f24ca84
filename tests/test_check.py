"""Stage `check`: the project's own params pass, and params that would fail later are refused with one line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.check import STAGE_PARAMS, main
from stages.core.errors import run
from stages.core.params import read_document
from stages.zoo.registry import MODELS

ROOT = Path(__file__).parents[1]
BUNDLED = "smollm2-135m-instruct"


def params(**changes: Any) -> str:
    """The default params with changed values; `mix__rows` is the key rows of the section mix, and `...` drops a key.

    Keys that the tests depend on are set here, so that the tests do not depend on the defaults.
    """
    document = read_document(ROOT / "params.yaml")
    fixed = {
        "models": [BUNDLED],
        "datasets": ["multiemo", "fever"],
        "instructions": ["winogrande"],
        "suites": ["addition"],
        "mix_ratio": 0.8333,
        "finetune__steps": 40,
        "finetune__warmup_steps": 10,
    }
    for key, value in (fixed | changes).items():
        *sections, name = key.split("__")
        section = document[sections[0]] if sections else document
        if value is ...:
            del section[name]
        else:
            section[name] = value
    return json.dumps(document)  # JSON is valid YAML 1.2


def refusal(text: str, monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The message of `check` for invalid params."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["check"])
    Path("params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        run(main)
    out, err = capsys.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: params.yaml")
    return err.removeprefix("error: ").rstrip("\n")


def run_as_dvc_does(folder: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "stages.check"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "preset", [ROOT / "params.yaml", *sorted(ROOT.glob("presets/*.yaml"))], ids=lambda path: path.name
)
def test_the_presets_pass(preset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes(preset.read_bytes())
    main()


def test_every_key_of_the_params_file_belongs_to_one_stage_or_to_all() -> None:
    names = [name for kind in STAGE_PARAMS for name in (*kind.top_level, kind.section) if name]
    assert read_document(ROOT / "params.yaml").keys() == {name.partition(".")[0] for name in names}
    sections = [kind.section for kind in STAGE_PARAMS if kind.section]
    assert len(set(sections)) == len(sections)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "one"}, "seed is 'one': it should be a valid integer"),
        ({"mix_ratio": 1.5}, "mix_ratio is 1.5: it should be less than or equal to 1"),
        ({"finetune__steps": -40}, "finetune.steps is -40: it should be greater than or equal to 1"),
        ({"finetune__steps": True}, "finetune.steps is True: it should be a valid integer"),
        ({"finetune__batch_size": "8"}, "finetune.batch_size is '8': it should be a valid integer"),
        (
            {"finetune__batch_size": ...},
            "finetune.batch_size is missing; `git show HEAD:params.yaml` shows it with its meaning",
        ),
        ({"mix__row": 1}, "mix.row is not a known key; `git show HEAD:params.yaml` shows all keys"),
        ({"measure": 5}, "the section measure is missing or holds no keys"),
        ({"measure": ...}, "the section measure is missing or holds no keys"),
        ({"sead": 2}, "sead: no such key; known are clean, datasets, "),
        ({"mix_ration": 0.5}, "mix_ration: no such key; known are clean, datasets, "),
        ({"finetune__warmup_steps": 41}, "finetune.warmup_steps is 41, more than finetune.steps (40)"),
        (
            {"finetune__batch_size": 8, "finetune__gradient_accumulation_steps": 3},
            "finetune.gradient_accumulation_steps is 3, which does not divide finetune.batch_size (8)",
        ),
        ({"finetune__keep_steps": [10, 41]}, "finetune.keep_steps holds 41, more than finetune.steps (40)"),
        ({"models": ["gpt-5"]}, f"models: 'gpt-5' is not known; known are {BUNDLED}"),
        (
            {"models": ["tiny-c"], "own_models": {"tiny-a": {"from": "own/tiny-a"}}},
            f"models: 'tiny-c' is not known; known are {', '.join(MODELS)}, tiny-a",
        ),
        ({"datasets": ["fevre"]}, "datasets: 'fevre' is not known; known are multiemo, multiemo_polar, "),
        ({"instructions": ["flan"]}, "instructions: 'flan' is not known; known are qasc_answers, "),
        ({"lessons": ["grammar"]}, "lessons: 'grammar' is not known; known are naming, words, "),
        (
            {"mix__phases": [{"share": 1.0, "weights": {"words": 1}}]},
            "mix.phases: 'words' is neither in instructions nor in lessons",
        ),
        (
            {"mix__phases": [{"share": 0.6, "weights": {"winogrande": 1}}]},
            "mix.phases: the shares sum to 0.6, expected 1",
        ),
        ({"suites": ["mmlu"]}, "suites: 'mmlu' is not known; known are addition"),
        ({"hub": "no/such"}, "hub is 'no/such', which is not a folder; name a folder with the hub's layout, or"),
        (
            {"prompt__fidelity": "reference", "prompt__claims": "balanced"},
            "prompt.claims is balanced, which prompt.fidelity: reference does not support; set it to paper",
        ),
        ({"prompt__fidelity": "faithful"}, "prompt.fidelity is 'faithful': it should be 'corrected' or 'reference'"),
        ({"datasets": ["fever", "multiemo", "fever"]}, "datasets: 'fever' is listed twice"),
        ({"suites": ["addition", "addition"]}, "suites: 'addition' is listed twice"),
        ({"models": []}, "models is empty; list at least one"),
        ({"datasets": []}, "datasets is empty; list at least one"),
        ({"suites": []}, "suites is empty; list at least one"),
        ({"finetune__lora": {"rank": 1, "alpha": 1, "targets": ["up", "up"]}}, "finetune.lora.targets: 'up' is listed"),
        ({"instructions": []}, "mix_ratio is 0.8333 and needs instruction data; list a set in instructions or"),
        ({"own_models": {BUNDLED: {"from": "a.gguf"}}}, f"own_models: {BUNDLED} is already a registry name; choose"),
    ],
)
def test_a_mistake_is_one_line(
    changes: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = refusal(params(**changes), monkeypatch, tmp_path, capsys)
    assert line.startswith(f"params.yaml: {message}")


def test_a_key_that_is_not_text_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(params().replace("{", "{1: 2, ", 1), monkeypatch, tmp_path, capsys)
    assert line.startswith("params.yaml: 1: no such key")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"seed": -1}, ["seed is -1"]),
        (
            {"suite__sums": 0, "mix__rows": 0, "measure__bootstrap_samples": 2},
            ["suite.sums is 0", "mix.rows is 0", "measure.bootstrap_samples is 2"],
        ),
        (
            {"datasets": ["fevre"], "suites": ["mmlu"], "finetune__warmup_steps": 99},
            ["'fevre' is not known", "'mmlu' is not known", "finetune.warmup_steps is 99"],
        ),
    ],
)
def test_several_mistakes_are_reported_together_and_once_each(
    changes: dict[str, Any],
    parts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = refusal(params(**changes), monkeypatch, tmp_path, capsys)
    assert [line.count(part) for part in parts] == [1] * len(parts)


@pytest.mark.parametrize(
    "changes",
    [
        {"mix_ratio": 1},
        {"mix_ratio": 1.0, "instructions": []},
        {"own_models": {"mine": {"from": "a.gguf"}}, "models": ["mine", BUNDLED]},
        {"finetune__warmup_steps": 40},
    ],
)
def test_unusual_but_valid_params_pass(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(params(**changes), encoding="utf-8")
    main()


def test_as_a_command_valid_params_print_nothing(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(params(), encoding="utf-8")
    assert run_as_dvc_does(tmp_path) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (params(mix_ratio=1.5, models=["gpt-5"]), ": mix_ratio is 1.5: it should be less than or equal to 1\n"),
        ("seed: 1\nmodels: [\nmix_ratio: 1.0\n", " is not valid YAML: "),
    ],
    ids=["value", "yaml"],
)
def test_as_a_command_a_mistake_is_one_line_and_status_1(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    status, out, err = run_as_dvc_does(tmp_path)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"error: params.yaml{message}")
