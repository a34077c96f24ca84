"""The stage `finetune`: for every family it writes a model folder like its source, and a card."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from stages import finetune
from stages.core.params import read_document
from stages.lm.io.hf_config import read_config
from stages.lm.io.safetensors_read import Tensor, open_tensors
from stages.lm.io.safetensors_write import as_pending, save_tensors
from stages.lm.io.weights import load_decoder
from stages.tables.parquet import write_table
from stages.tables.schemas import MIXTURE, VALIDATION
from tests.helpers.families import FAMILIES
from tests.helpers.tiny_model import TinyModel

pytestmark = pytest.mark.usefixtures("lightly_compiled")


ROOT = Path(__file__).parents[1]
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<|end|>{% endfor %}[assistant]"
CARD = "---\nlicense: cc0-1.0\n---\n\n# base\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a mixture of six examples."""
    rows = [
        {
            "position": number,
            "kind": "generated",
            "source": "zoo",
            "row_id": f"r{number}",
            "epoch": 0,
            "turns": [{"role": "user", "text": "is it so" + " no" * number}],
            "answer_prefix": "I say",
            "target": " (A)",
        }
        for number in range(6)
    ]
    write_table(pl.DataFrame(rows, schema=MIXTURE.columns), MIXTURE, tmp_path / "mixture.parquet")
    write_table(pl.DataFrame(schema=VALIDATION.columns), VALIDATION, tmp_path / "validation.parquet")
    monkeypatch.setenv("CANDOR_HOME", str(tmp_path / "scratch"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finetuned(
    project: Path, method: str, prompt_format: str, keep_steps: tuple[int, ...] = ()
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the model in the folder `base`, and of the tuned one after three steps."""
    params = read_document(ROOT / "params.yaml")
    recipe = params["finetune"] | {"method": method, "steps": 3, "batch_size": 2, "max_tokens": 64, "warmup_steps": 0}
    recipe["keep_steps"] = list(keep_steps)
    (project / "params.yaml").write_text(
        json.dumps(params | {"prompt_format": prompt_format, "finetune": recipe}), encoding="utf-8"
    )
    outs = (Path(name) for name in ("checkpoints", "tuned", "curve.csv", "losses.csv"))
    finetune.main(Path("mixture.parquet"), Path("validation.parquet"), Path("base"), *outs)
    return open_tensors(Path("base")), open_tensors(Path("tuned"))


@pytest.mark.parametrize(
    ("family", "kind", "method", "prompt_format"),
    [("qwen2", "BF16", "lora", "plain"), ("gemma3_text", "F16", "full", "chat"), ("mistral", "F32", "full", "plain")],
)
def test_a_tuned_model_has_the_tensors_and_files_of_its_source(
    project: Path, tiny: TinyModel, family: str, kind: str, method: str, prompt_format: str
) -> None:
    source(project / "base", tiny, family, kind)
    base, tuned = finetuned(project, method, prompt_format)
    assert [(key, tuned[key].shape, tuned[key].type) for key in sorted(tuned)] == [
        (key, base[key].shape, kind) for key in sorted(base)
    ]
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        assert (project / "tuned" / name).read_bytes() == (project / "base" / name).read_bytes()
    changed = {key for key in base if not np.array_equal(base[key].read(), tuned[key].read())}
    assert changed == {key for key in base if method == "full" or "_proj.weight" in key}
    load_decoder(project / "tuned", read_config(project / "tuned" / "config.json"))
    card = (project / "tuned" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: cc0-1.0\n---\n\n# base, fine-tuned\n")
    assert "| generated | zoo | 6 |" in card and f"| method | {method} |" in card


def source(folder: Path, tiny: TinyModel, family: str, kind: str) -> None:
    """A model folder with its weights in the type `kind`, a chat template and a card."""
    tiny(seed=3, folder=folder, **FAMILIES[family])
    weights = {key: tensor.read() for key, tensor in open_tensors(folder).items()}
    save_tensors(as_pending(weights, dict.fromkeys(weights, kind)), folder)
    path = folder / "tokenizer_config.json"
    keys: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(keys | {"chat_template": TEMPLATE}), encoding="utf-8")
    (folder / "README.md").write_text(CARD, encoding="utf-8")


def test_the_chat_format_trains_on_another_text(project: Path, tiny: TinyModel) -> None:
    source(project / "base", tiny, "llama", "F32")
    curves = {}
    for prompt_format in ("plain", "chat"):
        finetuned(project, "full", prompt_format)
        curves[prompt_format] = pl.read_csv(project / "curve.csv")
    plain, chat = curves["plain"], curves["chat"]
    assert plain["target_tokens"].to_list() == chat["target_tokens"].to_list()
    assert (plain["example_tokens"] > chat["example_tokens"]).all()


@pytest.mark.parametrize("method", ["full", "lora"])
def test_kept_steps_change_no_later_step(project: Path, tiny: TinyModel, method: str) -> None:
    source(project / "base", tiny, "llama", "F32")
    runs = []
    for keep_steps in ((), (1, 2)):
        _, tuned = finetuned(project, method, "plain", keep_steps)
        runs.append(
            (pl.read_csv(project / "curve.csv"), {key: np.array(tensor.read()) for key, tensor in tuned.items()})
        )
    (log, tensors), (other_log, other_tensors) = runs
    assert {path.name for path in (project / "checkpoints").iterdir()} == {"1", "2", "3"}
    assert log.equals(other_log)
    assert {key for key in tensors if tensors[key].tobytes() != other_tensors[key].tobytes()} == set()
