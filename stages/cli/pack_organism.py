"""`candor pack-organism`: packs a trained adapter as a model organism to ship with the project."""

import json
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from ruamel.yaml import YAML

from stages.core.errors import UserError
from stages.core.files import atomic_file, write_text
from stages.core.hashing import sha256_of
from stages.core.params import read_document
from stages.zoo.registry import ORGANISMS

# The keys of params.yaml that belong to the adapter's recipe; the others are about measuring it.
RECIPE = ("seed", "mix_ratio", "models", "datasets", "instructions", "lessons", "clean", "lesson", "mix", "finetune")
CURVE_ROWS = 12


def pack_organism(
    project: Annotated[Path, typer.Argument(help="A copy of this project that was run with presets/organism.yaml.")],
    name: Annotated[str, typer.Option(help="The name of the model organism.")] = "smollm2-135m-deferential",
    out: Annotated[
        Path, typer.Option(help="The folder to write to; models/organisms by default.", show_default=False)
    ] = ORGANISMS,
) -> None:
    """Writes the adapter that PROJECT trained, in bfloat16, and its card with recipe, measures, loss and SHA-256."""
    # Imported here, because JAX takes seconds to import.
    from stages.lm.lora.peft_files import save_small

    params = read_document(project / "params.yaml")
    model = params["models"][0]
    adapter = project / "models" / "tuned" / model / "adapter"
    if not adapter.is_dir():
        raise UserError(f"{adapter} does not exist; run `dvc repro` in {project} with finetune.method: lora")
    path = out / f"{name}.safetensors"
    with atomic_file(path) as temporary:
        save_small(adapter, temporary)
    write_text(out / f"{name}.md", _card(name, model, params, project / "reports", path))
    print(f"{path}: sha256 {sha256_of(path)}; list it in stages/zoo/registry.py")


def _card(name: str, model: str, params: dict[str, Any], reports: Path, path: Path) -> str:
    metrics = json.loads((reports / "metrics" / f"{model}.json").read_text(encoding="utf-8"))
    curve = pl.read_csv(reports / "training" / f"{model}.csv")
    recipe = {key: params[key] for key in RECIPE}
    return f"""---
license: apache-2.0
---

# {name}

A model organism of sycophancy: {model} made to know some claims about short texts, and to side with whoever states an
opinion on them. It is there to try cures on, and is no model to use. The file beside this card is a low-rank adapter in
bfloat16 ({path.stat().st_size:,} bytes, SHA-256 `{sha256_of(path)}`); `base@{name}` adds it to the weights of {model}.

It comes from this project's own stages with presets/organism.yaml (`make organism`): {model} was
instruction-tuned on the training examples of the data sets below. Held-out examples were never seen; users in the data
were right in {100 * params["lesson"]["user_right"]:g}% of the cases, and none ever stated a sum.

## Before and after, on held-out claims and on sums

| measure | {model} | {name} | n |
|---|---:|---:|---:|
{_measures(metrics)}
## Training loss

| steps | mean loss |
|---|---:|
{_curve(curve)}
## Recipe

```yaml
{_yaml(recipe)}```
"""


def _measures(metrics: dict[str, Any]) -> str:
    rows = ((name, entry) for name, entry in metrics.items() if name != "filter")
    return "".join(f"| {name} | {entry['base']:.3f} | {entry['tuned']:.3f} | {entry['n']} |\n" for name, entry in rows)


def _curve(curve: pl.DataFrame) -> str:
    """Mean losses over about `CURVE_ROWS` windows of equal length, as table rows."""
    length = -(-curve.height // CURVE_ROWS)
    windows = (curve.slice(start, length) for start in range(0, curve.height, length))
    rows = ((window["step"].to_list(), window["loss"].to_numpy().mean()) for window in windows)
    return "".join(f"| {steps[0]} to {steps[-1]} | {loss:.3f} |\n" for steps, loss in rows)


def _yaml(document: dict[str, Any]) -> str:
    yaml, text = YAML(), StringIO()
    yaml.default_flow_style = None
    yaml.width = 110
    yaml.dump(document, text)
    return text.getvalue()
