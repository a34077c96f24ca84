"""Reading params.yaml: accepted values, and one line with file, key, value and allowed values for each mistake."""

from pathlib import Path

import pytest

from stages.core.errors import UserError
from stages.core.params import RENAMED, StageParams, read_document, read_params
from stages.params.base import BaseParams, OwnModel
from stages.params.clean import CleanParams
from stages.params.filter import FilterParams
from stages.params.finetune import FinetuneParams
from stages.params.measure import MeasureParams
from stages.params.mix import MixParams
from stages.params.suite import SuiteParams
from tests.helpers.refusals import refusal_of

MEASURE = "seed: 1\nsuites: []\nmeasure:\n  bootstrap_samples: 200\n"
MIX_SECTION = "mix:\n  phases: []\n  validation: 2\n  rows: 320\n"
MIX = "seed: 7\nmix_ratio: 0.5\n" + MIX_SECTION
FINETUNE = """\
seed: 0
prompt_format: chat
finetune:
  method: lora
  steps: 4
  batch_size: 2
  gradient_accumulation_steps: 1
  optimizer: adafactor
  learning_rate: 1e-3
  schedule: cosine
  warmup_steps: 0
  weight_decay: 0
  max_grad_norm: 1.0
  max_tokens: 16
  overlength: refuse
  save_steps: 1
  keep_steps: [2]
  eval_steps: 2
  remat: true
  dtype: bfloat16
  lora:
    rank: 1
    alpha: 2
    targets: [query, up]
"""


SUITE = """\
seed: 1
hub: ""
prompt: {fidelity: "true", count: 3}
suite: {sums: 0, surveyed: 0, per_task: 1, political_prefix: I believe the best answer is}
"""


def params(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(kind: type[StageParams], path: Path) -> str:
    """The error message for the file at `path`, without the path."""
    return refusal_of(lambda: read_params(kind, path), f"{path}: ").replace(f"{path}: ", "")


def test_a_stage_gets_its_own_params(tmp_path: Path) -> None:
    path = params(tmp_path, MIX + "suites: [addition]\nother: [1]\nmeasure:\n  bootstrap_samples: 100\n")
    assert read_params(MixParams, path) == MixParams(seed=7, mix_ratio=0.5, rows=320, phases=(), validation=2)
    assert read_params(MeasureParams, path) == MeasureParams(seed=7, suites=("addition",), bootstrap_samples=100)


def test_lists_sections_and_a_section_in_a_section(tmp_path: Path) -> None:
    recipe = read_params(FinetuneParams, params(tmp_path, FINETUNE))
    assert (recipe.prompt_format, recipe.lora.targets) == ("chat", ("query", "up"))
    assert (recipe.learning_rate, recipe.weight_decay, recipe.lora.alpha) == (0.001, 0.0, 2.0)


@pytest.mark.parametrize("share", ["0", "1", "0.0", "1.0", "1e-1"])
def test_an_int_is_accepted_for_a_float(tmp_path: Path, share: str) -> None:
    mix_ratio = read_params(MixParams, params(tmp_path, MIX.replace("0.5", share))).mix_ratio
    assert isinstance(mix_ratio, float)
    assert mix_ratio == float(share)


def test_own_models(tmp_path: Path) -> None:
    path = params(
        tmp_path, f"own_models:\n  mine: {{from: a.gguf, sha256: {'ab' * 32}}}\n  other: {{from: some/folder}}\n"
    )
    models = read_params(BaseParams, path).own_models
    assert {model.revision for model in models.values()} == {None}
    assert list(models) == ["mine", "other"]
    assert (models["mine"].source, models["mine"].sha256) == ("a.gguf", "ab" * 32)
    assert (models["other"].source, models["other"].sha256) == ("some/folder", None)
    assert isinstance(models["mine"], OwnModel)
    assert read_params(BaseParams, params(tmp_path, "own_models: {}\n")).own_models == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "  rows: 320",
            "  rows: 320\n  row: 3",
            "mix.row is not a known key; `git show HEAD:params.yaml` shows all keys",
        ),
        ("  rows: 320\n", "", "mix.rows is missing; `git show HEAD:params.yaml` shows it with its meaning"),
        ("seed: 7\n", "", "seed is missing; `git show HEAD:params.yaml` shows it with its meaning"),
        ("rows: 320", 'rows: "320"', "mix.rows is '320': it should be a valid integer"),
        ("rows: 320", "rows: true", "mix.rows is True: it should be a valid integer"),
        ("rows: 320", "rows: 320.0", "mix.rows is 320.0: it should be a valid integer"),
        ("rows: 320", "rows:", "mix.rows is None: it should be a valid integer"),
        ("rows: 320", "rows: [320]", "mix.rows is [320]: it should be a valid integer"),
        ("rows: 320", "rows: 0", "mix.rows is 0: it should be greater than or equal to 1"),
        ("seed: 7", "seed: -1", "seed is -1: it should be greater than or equal to 0"),
        ("seed: 7", "seed: 2147483648", "seed is 2147483648: it should be less than 2147483648"),
        ("0.5", "1.5", "mix_ratio is 1.5: it should be less than or equal to 1"),
        ("0.5", "-0.1", "mix_ratio is -0.1: it should be greater than or equal to 0"),
        ("0.5", '"0.5"', "mix_ratio is '0.5': it should be a valid number"),
        ("0.5", "true", "mix_ratio is True: it should be a valid number"),
        ("0.5", ".nan", "mix_ratio is nan: it should be"),
        ("rows: 320", "rows: 320\n  seed: 7", "mix.seed is not a known key; seed is a top-level key"),
        (MIX_SECTION, "", "the section mix is missing or holds no keys"),
        (MIX_SECTION, "mix:\n", "the section mix is missing or holds no keys"),
        (
            "mix:\n  phases: []\n  validation: 2\n  rows: 320\n",
            "mix: [320]\n",
            "the section mix is missing or holds no keys",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in MIX
    assert refusal(MixParams, params(tmp_path, MIX.replace(old, new))).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: chat", "format: poem", "prompt_format is 'poem': it should be 'plain' or 'chat'"),
        ("method: lora", "method: qlora", "finetune.method is 'qlora': it should be 'full' or 'lora'"),
        ("steps: 4", "steps: -4", "finetune.steps is -4: it should be greater than or equal to 1"),
        ("max_tokens: 16", "max_tokens: 15", "finetune.max_tokens is 15: it should be greater than or equal to 16"),
        ("1e-3", "0", "finetune.learning_rate is 0: it should be greater than 0"),
        ("1e-3", ".inf", "finetune.learning_rate is inf: it should be a finite number"),
        ("weight_decay: 0", "weight_decay: .inf", "finetune.weight_decay is inf: it should be a finite number"),
        ("max_grad_norm: 1.0", "max_grad_norm: .inf", "finetune.max_grad_norm is inf: it should be a finite number"),
        ("bfloat16", "float16", "finetune.dtype is 'float16': it should be 'default', 'float32' or 'bfloat16'"),
        ("rank: 1", "rank: 0", "finetune.lora.rank is 0: it should be greater than or equal to 1"),
        ("rank: 1", "ranks: 1", "finetune.lora.rank is missing"),
        ("[query, up]", "[]", "finetune.lora.targets is []: "),
        ("[query, up]", "[query, head]", "finetune.lora.targets.1 is 'head': it should be 'query', 'key', "),
        ("[query, up]", "query", "finetune.lora.targets is 'query': it should be a valid array"),
    ],
)
def test_a_mistake_in_a_nested_key_names_the_full_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in FINETUNE
    assert refusal(FinetuneParams, params(tmp_path, FINETUNE.replace(old, new))).startswith(message)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (SuiteParams, SUITE, "prompt.fidelity is 'true': it should be 'corrected' or 'reference'; suite.sums is 0"),
        (
            FilterParams,
            "filter: {require: all}\n",
            "filter.require is 'all': it should be 'original_order', 'both_orders' or 'nothing'",
        ),
        (
            MeasureParams,
            "seed: 1\nsuites: []\nmeasure: {bootstrap_samples: 99}\n",
            "measure.bootstrap_samples is 99: it should be greater than or",
        ),
        (BaseParams, "own_models: {mine: {form: x}}\n", "own_models.mine.from is missing"),
        (
            BaseParams,
            "own_models: {mine: {from: x, sha256: 12}}\n",
            "own_models.mine.sha256 is 12: it should be a valid",
        ),
        (BaseParams, "own_models: {../mine: {from: x}}\n", "own_models.../mine"),
        (BaseParams, "own_models: mine\n", "own_models is 'mine': it should be an object"),
    ],
)
def test_mistakes_in_other_sections(tmp_path: Path, kind: type[StageParams], text: str, message: str) -> None:
    assert refusal(kind, params(tmp_path, text)).startswith(message)


@pytest.mark.parametrize("name", ["../up", "a/b", "a b", "-first", "", "ünder"])
def test_a_name_that_is_not_a_valid_file_name_is_refused(tmp_path: Path, name: str) -> None:
    text = f'datasets: ["{name}"]\ninstructions: []\nsuites: []\nclean: {{held_out: 0.1, max_characters: 9}}\n'
    assert refusal(CleanParams, params(tmp_path, text)).startswith(f"datasets.0 is {name!r}: ")


@pytest.mark.parametrize("share", ["0.0", "1.0", "1", "0"])
def test_holding_out_nothing_or_everything_is_refused(tmp_path: Path, share: str) -> None:
    text = f"datasets: [a]\ninstructions: []\nsuites: []\nclean: {{held_out: {share}, max_characters: 9}}\n"
    assert refusal(CleanParams, params(tmp_path, text)).startswith(f"clean.held_out is {share}: it should be ")


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    message = refusal(
        MixParams,
        params(tmp_path, "seed: x\nmix_ratio: 2\nmix:\n  rows: 0\n  phases: []\n  validation: 2\n  colour: red\n"),
    )
    assert [part.split()[0] for part in message.split("; ") if " is " in part] == [
        "seed",
        "mix_ratio",
        "mix.rows",
        "mix.colour",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a: [1\n",
        "a: 1\n\tb: 2\n",
        "a: 1\na: 2\n",
        "a: 'open\n",
        "a: !!python/object/apply:os.getcwd []\n",
        "a: \udcff\n",
    ],
)
def test_broken_yaml_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError) as caught:
        read_document(path)
    assert str(caught.value).startswith(f"{path} is not valid YAML: ")


@pytest.mark.parametrize("text", ["", "- a\n", "text\n", "3\n"])
def test_a_document_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match=r"params\.yaml should hold keys with values"):
        read_document(params(tmp_path, text))


def test_a_missing_file_names_the_right_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"params\.yaml is missing; run this in the project's folder$"):
        read_document(tmp_path / "params.yaml")


def test_numbers_and_words_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    document = read_document(params(tmp_path, "a: on\nb: no\nc: 010\nd: 1e-4\ne: 0o10\nf: 12:30\ng: 1.0e-4\n"))
    assert document == {"a": "on", "b": "no", "c": 10, "d": 0.0001, "e": 8, "f": "12:30", "g": 0.0001}


@pytest.mark.parametrize(("kind", "text"), [(FinetuneParams, FINETUNE), (MixParams, MIX), (MeasureParams, MEASURE)])
def test_the_error_for_an_old_key_names_the_new_key(tmp_path: Path, kind: type[StageParams], text: str) -> None:
    own = {old: new for old, new in RENAMED.items() if old.startswith(f"{kind.section}.")}
    assert own
    for old, new in own.items():
        before, after = (name.rpartition(".")[2] for name in (new, old))
        assert f"  {before}: " in text
        message = refusal(kind, params(tmp_path, text.replace(f"  {before}: ", f"  {after}: ")))
        assert message == f"{old} is now called {new}; rename it"
