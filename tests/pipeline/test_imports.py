import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from importlib import import_module
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import pytest

from stages.core.params import StageParams, read_document
from stages.page.data.model_inputs import ReportFiles
from tests.miniature.models import write_model
from tests.pipeline.structure import (
    JAX,
    MOST_CODE_DEPS,
    Graph,
    cycles,
    foreign_imports_of_lm,
    graph_of,
    imports_between_text_and_lm,
    imports_of_other_params,
    imports_of_stages,
    imports_of_test_modules,
    misplaced_libraries,
    reached,
    read_sources,
    stages_of,
    wrong_deps,
)

ROOT = Path(__file__).parents[2]
GRAPH = graph_of(read_sources(ROOT))
PIPELINE: dict[str, Any] = read_document(ROOT / "dvc.yaml")["stages"]
PARAMS = read_document(ROOT / "params.yaml")

WITH_ARRAYS = {"base", "judge", "finetune", "evaluate", "curve"}
MOST_STAGES = 45
MOST_LINES = 430

RULES = (
    (imports_of_stages, {"stages.mix": "from stages import judge", "stages.judge": ""}),
    (imports_of_stages, {"stages.text.claims": "def f():\n  import stages.judge", "stages.judge": ""}),
    (imports_between_text_and_lm, {"stages.text.claims.a": "from stages.lm.nn.b import x", "stages.lm.nn.b": ""}),
    (imports_between_text_and_lm, {"stages.lm.nn.b": "from stages.text import claims", "stages.text.claims": ""}),
    (foreign_imports_of_lm, {"stages.lm.nn.a": "import polars as pl"}),
    (foreign_imports_of_lm, {"stages.lm.nn.a": "from gguf import GGUFReader"}),
    (foreign_imports_of_lm, {"stages.lm.nn.a": "from stages.core.params import x", "stages.core.params": ""}),
    (imports_of_other_params, {"stages.params.mix": "from stages.params.judge import x", "stages.params.judge": ""}),
    (imports_of_other_params, {"stages.mix": "from stages.params.judge import x", "stages.params.judge": ""}),
    (misplaced_libraries, {"stages.text.names": "from jax import numpy"}),
    (misplaced_libraries, {"stages.text.a": "import datasets", "stages.text.b": "from datasets import x"}),
    (
        cycles,
        {"stages.a.one": "from stages.b.two import x", "stages.b.three": "import stages.a.one", "stages.b.two": ""},
    ),
)


@pytest.mark.parametrize("rule", dict.fromkeys(rule for rule, _ in RULES), ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule: Callable[[Graph], list[str]]) -> None:
    assert rule(GRAPH) == []


@pytest.mark.parametrize(("rule", "sources"), RULES)
def test_a_breach_is_found(rule: Callable[[Graph], list[str]], sources: dict[str, str]) -> None:
    assert len(rule(graph_of(sources))) == 1


def test_no_test_module_imports_another() -> None:
    """What two of them need lies in tests/helpers or tests/miniature."""
    texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    assert imports_of_test_modules(texts) == []


def test_an_import_of_a_test_module_is_found() -> None:
    texts = {
        "tests/a.py": "from tests.helpers.scoring import Memory\nimport tests.lm.test_loop",
        "tests/b.py": "def f():\n  from tests.lm.test_loop import x",
        "tests/c.py": "from tests.lm import test_loop",
        "tests/d.py": "from tests.lm.conftest import x",
    }
    assert imports_of_test_modules(texts) == [
        "tests/a.py imports tests.lm.test_loop",
        "tests/b.py imports tests.lm.test_loop",
        "tests/c.py imports tests.lm.test_loop",
        "tests/d.py imports tests.lm.conftest",
    ]


def test_every_stage_has_a_module_of_its_name() -> None:
    assert {f"stages.{name}" for name in PIPELINE} == stages_of(GRAPH)


def test_deps_name_exactly_the_code_that_is_imported() -> None:
    assert wrong_deps(PIPELINE, GRAPH) == []


def test_wrong_deps_are_found() -> None:
    graph = graph_of({"stages": "", "stages.mix": "import stages.text.a.names", "stages.text.a.names": "import numpy"})
    listed = ["data/prompts.parquet", "stages/mix.py", "stages/lm/nn", "stages/mix.py"]
    assert wrong_deps({"mix": {"deps": listed}}, graph) == [
        "mix lacks stages/text/a",
        "mix does not import stages/lm/nn",
        "mix lists stages/mix.py twice",
    ]


def test_more_than_a_dozen_rooms_are_found() -> None:
    rooms = {f"stages.room{number}.a": "" for number in range(MOST_CODE_DEPS)}
    graph = graph_of({"stages.mix": "\n".join(f"import {name}" for name in rooms), **rooms})
    listed = ["stages/mix.py", *(f"stages/room{number}" for number in range(MOST_CODE_DEPS))]
    assert wrong_deps({"mix": {"deps": listed}}, graph) == [f"mix lists {MOST_CODE_DEPS + 1} rooms"]


def test_dvc_yaml_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize(
    ("room", "stages"),
    [
        ("stages/page", {"report"}),
        ("stages/lm/training", {"finetune", "curve"}),
        ("stages/lm/lora", {"base", "finetune"}),
        ("stages/lm/gguf", {"base"}),
        ("stages/lm/scoring", {"judge", "evaluate", "curve"}),
        ("stages/fetch", {"collect", "instruct", "suite", "base"}),
        ("stages/sweeps", set()),
        ("stages/zoo", {"base"}),
    ],
)
def test_a_change_of_a_room_reruns_only_the_stages_that_use_it(room: str, stages: set[str]) -> None:
    """The optimizer does not rerun judging, and the page reruns nothing but the report."""
    assert {name for name, entry in PIPELINE.items() if room in entry["deps"]} == stages


def test_who_reads_an_archive_depends_on_its_pin() -> None:
    reading = {name for name in PIPELINE if "stages.fetch.archives" in reached(f"stages.{name}", GRAPH)}
    assert {name for name, entry in PIPELINE.items() if "pins.yaml" in entry["deps"]} == reading != set()


@pytest.mark.parametrize("stage", PIPELINE)
def test_params_are_those_of_the_stage_s_knobs(stage: str) -> None:
    listed = PIPELINE[stage].get("params", [])
    if stage in ("check", "report"):  # one checks all that there is, the other shows it
        assert listed == [{"params.yaml": None}]
        return
    module = f"stages.params.{stage}"
    if module not in GRAPH[f"stages.{stage}"]:
        assert listed == []
        return
    params: type[StageParams] = getattr(import_module(module), f"{stage.capitalize()}Params")
    assert sorted(listed) == sorted([*params.top_level, *([params.section] if params.section else [])])


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_description_begins_with_a_sentence(stage: str) -> None:
    first = PIPELINE[stage]["desc"].splitlines()[0]
    assert first[0].isupper() and first.endswith(".") and len(first.split()) > 3


def test_check_comes_first() -> None:
    assert next(iter(PIPELINE)) == "check"


def test_data_flows_in_the_order_of_the_file() -> None:
    assert backward(PIPELINE) == []


def test_data_that_flows_backward_is_found() -> None:
    mix = {"deps": ["data/filtered/${item.model}.parquet", "stages/mix.py"], "outs": ["data/mixture"]}
    judge = {"deps": ["data/mixture"], "outs": [{"data/filtered/${item.model}.parquet": {"cache": False}}]}
    assert backward({"mix": mix, "filter": judge}) == ["mix reads data/filtered/*.parquet"]


def backward(pipeline: dict[str, Any]) -> list[str]:
    """What a stage reads although no stage above it writes it, by stage."""
    lines, written = [], ["pins.yaml", "models/organisms", "stages*", "reports/sweeps"]
    for name, entry in pipeline.items():
        for dep in map(_pattern, entry["deps"]):
            if not any(fnmatchcase(dep, out) or fnmatchcase(out, dep) or out.startswith(f"{dep}/") for out in written):
                lines.append(f"{name} reads {dep}")
        written += [_pattern(out) for out in _outs(entry)]
    return lines


def _outs(entry: dict[str, Any]) -> list[str]:
    listed = chain.from_iterable(entry.get(kind, []) for kind in ("outs", "metrics", "plots"))
    return [next(iter(out)) if isinstance(out, dict) else out for out in listed]


def _pattern(template: str) -> str:
    for key in ("dataset", "set", "suite", "model", "variant"):
        template = template.replace(f"${{item.{key}}}", "*")
    return template


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_command_names_what_the_stage_reads_and_writes(stage: str) -> None:
    entry = PIPELINE[stage]
    if stage == "report":  # its files have fixed names in the two folders that its command names
        files = ReportFiles(Path("reports"), Path("data"))
        named = [*map(str, files.inputs), *map(str, files.outputs)]
        assert sorted(named) == sorted([*(dep for dep in entry["deps"] if not dep.startswith("stages")), *_outs(entry)])
        return
    words = [word for word in entry["cmd"].split() if word.startswith(("data/", "models/", "reports/"))]
    # Which of the bundled adapters `base` reads depends on the model's name.
    data = [dep for dep in entry["deps"] if dep.startswith(("data", "models", "reports")) and dep != "models/organisms"]
    assert sorted(words) == sorted([*data, *_outs(entry)])


def test_the_default_has_few_stages() -> None:
    assert sum(map(size, PIPELINE.values())) <= MOST_STAGES


def size(entry: dict[str, Any]) -> int:
    """How many stages an entry of dvc.yaml stands for."""
    lists = entry.get("matrix", {}).values()
    return prod(len(PARAMS[names.strip("${}")] if isinstance(names, str) else names) for names in lists)


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """For each stage the modules that are loaded once it is imported in a fresh interpreter."""
    with ThreadPoolExecutor(2) as two:
        return dict(zip(PIPELINE, two.map(_loaded, PIPELINE), strict=True))


def _loaded(stage: str) -> set[str]:
    program = f"import stages.{stage}, sys, json; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.pipeline
def test_only_stages_with_arrays_load_jax_and_none_loads_the_hub(loaded: dict[str, set[str]]) -> None:
    assert {stage for stage, modules in loaded.items() if modules & JAX} == WITH_ARRAYS
    assert [stage for stage, modules in loaded.items() if "datasets" in modules] == []


@pytest.mark.pipeline
def test_what_is_loaded_of_the_project_is_what_the_source_says(loaded: dict[str, set[str]]) -> None:
    packages = {name.rpartition(".")[0] for name in GRAPH}
    for stage, modules in loaded.items():
        ours = {name for name in modules if name.startswith("stages.")} - packages
        assert f"stages.{stage}" in ours
        assert ours <= reached(f"stages.{stage}", GRAPH)


BARE = """
import sys
from importlib import import_module
from pathlib import Path

ABSENT = {
    "polars", "dvc", "jinja2", "datasets", "typer", "pydantic", "ruamel", "gguf", "jaxtyping", "filelock", "pyarrow",
    "psutil",
}  # fmt: skip

class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refusing())
for name in sys.argv[2:]:
    import_module(name)

from stages.lm.scoring.questions import Question, score_questions
from stages.lm.nn.dtypes import compute_dtype
from stages.lm.tokens.prompt_formats import plain_prompts
from stages.lm.io.load import open_model
from stages.lm.scoring.scorer import Scorer
from stages.lm.nn.sharding import device_mesh, sharding_fn

mesh = device_mesh()
model = open_model(Path(sys.argv[1]), sharding_fn(mesh))
scorer = Scorer(model.decoder, mesh, compute_dtype("float32"))
question = Question("q", [{"role": "user", "text": "Agree?"}], "I believe the best answer is", [" (A)", " (B)"])
answer, = score_questions(scorer, plain_prompts(model), [question], lambda done, note: None)
print(len(answer), (answer < 0).all())
"""


@pytest.mark.pipeline
def test_lm_runs_where_little_is_installed(tmp_path: Path) -> None:
    write_model(tmp_path / "tiny", seed=0)
    optional = ("stages.lm.gguf.reader", "stages.lm.tokens.chat_template", "stages.lm.training.host_memory")
    modules = [name for name in GRAPH if name.startswith("stages.lm.") and name not in optional]
    command = [sys.executable, "-c", BARE, str(tmp_path / "tiny"), *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("2 True\n", 0), done.stderr
