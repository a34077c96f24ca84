"""Stage `finetune`: the base model trained on the mixture.

Several processes may be started with the same arguments in one folder (CANDOR_PROCESSES): they train together, and the
first one writes.
"""

import csv
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from stages.core import hashing
from stages.core.errors import run
from stages.core.files import atomic_dir, atomic_file
from stages.core.params import read_params
from stages.core.progress import progress
from stages.core.scratch import checkpoint_seconds, locked_dir, scratch_dir
from stages.lm.distributed import environment, processes
from stages.lm.distributed.launch import distributed_main
from stages.lm.io import hf_folder
from stages.lm.io.load import LanguageModel, open_model
from stages.lm.io.safetensors_read import open_tensors
from stages.lm.io.safetensors_write import as_pending, save_tensors
from stages.lm.io.weights import tensors_of
from stages.lm.lora import adapters
from stages.lm.lora.peft_files import adapter_tensors, save_adapter
from stages.lm.nn.decoder import Decoder
from stages.lm.nn.dtypes import compute_dtype
from stages.lm.nn.shapes import Mesh
from stages.lm.nn.sharding import device_mesh, sharding_fn
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.tokens.prompt_formats import Prompts, prompts_of
from stages.lm.training import checkpoints
from stages.lm.training.examples import TrainingText, encode_examples
from stages.lm.training.host_memory import free_bytes
from stages.lm.training.loop import train
from stages.lm.training.optimizer import OptimizerConfig
from stages.lm.training.state import PERF_LOG_COLUMNS, TRAIN_LOG_COLUMNS, TrainConfig, TrainData, TrainHooks, TrainState
from stages.params.finetune import FinetuneParams
from stages.tables.parquet import read_table
from stages.tables.schemas import GENERATED, MIXTURE, VALIDATION

# Where the models of `finetune.keep_steps` wait in scratch for the end of the run.
KEPT = "kept"


def main(
    mixture: Path,
    validation: Path,
    base: Path,
    out_checkpoints: Path,
    out_model: Path,
    out_curve: Path,
    out_validation: Path,
) -> None:
    """Trains the model folder BASE on MIXTURE; writes Orbax checkpoints, a model folder and the curves."""
    knobs = read_params(FinetuneParams)
    key = hashing.hash_of([mixture, validation, *sorted(base.iterdir()), *hashing.code_of("stages/lm")], knobs)
    with _scratch(scratch_dir() / "finetune" / key, f"fine-tuning {base.name}") as scratch:
        mesh = device_mesh(environment.tensor_devices())
        model = open_model(base, sharding_fn(mesh))
        prompts = prompts_of(base, model, knobs.prompt_format)
        rows = read_table(mixture, MIXTURE)
        material = TrainData(
            _examples(rows, prompts, knobs),
            {
                str(name): _examples(aside, prompts, knobs)
                for (name,), aside in read_table(validation, VALIDATION).partition_by("source", as_dict=True).items()
            },
        )
        plan, state = _train(model, material, knobs, scratch, mesh)
        tuned = _tuned(model, knobs)
        if processes.is_first():
            _write_model(tuned, base, out_model, knobs, _card(base, rows, knobs))
        _keep(model.decoder, scratch / KEPT / str(knobs.steps))
        if not processes.is_first():
            return
        with atomic_dir(out_checkpoints) as target:
            shutil.copytree(scratch / KEPT, target, dirs_exist_ok=True)
        _write_csv(_curve(state.curve), out_curve)
        _write_csv(_validation(state.validation, plan.evaluated_steps, material), out_validation)
    shutil.rmtree(scratch)


@contextmanager
def _scratch(folder: Path, what: str) -> Iterator[Path]:
    """The folder of a run's resume state, held by the first of its processes for all of them."""
    if processes.is_first():
        with locked_dir(folder, what):
            yield folder
    else:
        yield folder


def _examples(rows: pl.DataFrame, prompts: Prompts, knobs: FinetuneParams) -> Sequence[PromptCompletion]:
    texts = [TrainingText(*row) for row in rows.select("row_id", "turns", "answer_prefix", "target").iter_rows()]
    examples, cut = encode_examples(prompts, texts, knobs.max_tokens, cut_long=knobs.overlength == "cut")
    if cut:
        print(f"{cut} of {len(texts)} examples were cut to finetune.max_tokens ({knobs.max_tokens})")
    return examples


def _train(
    model: LanguageModel, material: TrainData, knobs: FinetuneParams, scratch: Path, mesh: Mesh
) -> tuple[TrainConfig, TrainState]:
    rule = OptimizerConfig(
        knobs.optimizer,
        knobs.learning_rate,
        knobs.schedule,
        knobs.warmup_steps,
        knobs.weight_decay,
        knobs.max_grad_norm,
    )
    plan = TrainConfig(
        steps=knobs.steps,
        batch_size=knobs.batch_size,
        gradient_accumulation_steps=knobs.gradient_accumulation_steps,
        save_steps=knobs.save_steps,
        eval_steps=knobs.eval_steps,
        keep_steps=knobs.keep_steps,
        optimizer=rule,
        dtype=compute_dtype(knobs.dtype),
        remat=knobs.remat,
    )
    if knobs.method == "lora":
        adapters.add_adapters(model.decoder, knobs.lora.targets, knobs.lora.rank, knobs.lora.alpha, knobs.seed)

    def keep(step: int, decoder: Decoder) -> None:
        if knobs.method == "lora":
            adapters.merge_adapters(decoder, knobs.lora.targets)
        _keep(decoder, scratch / KEPT / str(step))

    with _pace_log() as log, progress("fine-tuning", knobs.steps, "steps") as advance:
        outside = TrainHooks(scratch, checkpoint_seconds(), advance, keep, free_bytes, log)
        return plan, train(model.decoder, material, plan, outside, mesh)


@contextmanager
def _pace_log() -> Iterator[Callable[[Sequence[float]], None]]:
    """Speed and memory of each step go to scratch: they differ from run to run, and no output may."""
    path = scratch_dir() / "logs" / ("finetune.csv" if processes.is_first() else f"finetune-{processes.index()}.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="", buffering=1) as file:
        writer = csv.writer(file)
        writer.writerow(PERF_LOG_COLUMNS)
        yield writer.writerow


def _keep(decoder: Decoder, folder: Path) -> None:
    # A run that goes on from a checkpoint comes by a kept step again, with the same weights.
    if not processes.all_max(float(folder.exists())):
        checkpoints.export(decoder, folder)


class _Tuned(NamedTuple):
    """What was trained, gathered from all processes, by Hugging Face and by PEFT key."""

    weights: dict[str, np.ndarray]
    adapter: dict[str, np.ndarray]


def _tuned(model: LanguageModel, knobs: FinetuneParams) -> _Tuned:
    adapter = {}
    if knobs.method == "lora":
        adapter = adapter_tensors(model.decoder, knobs.lora.rank)
        adapters.merge_adapters(model.decoder, knobs.lora.targets)
    return _Tuned(tensors_of(model.decoder), adapter)


def _write_model(tuned: _Tuned, base: Path, out: Path, knobs: FinetuneParams, card: str) -> None:
    with atomic_dir(out) as target:
        hf_folder.copy_small_files(base, target)
        if tuned.adapter:
            # In a folder of its own: beside the merged weights, Transformers would add the adapter a second time.
            (target / "adapter").mkdir()
            save_adapter(tuned.adapter, target / "adapter", knobs.lora.rank, knobs.lora.alpha)
        types = {key: tensor.type for key, tensor in open_tensors(base).items()}
        save_tensors(as_pending(tuned.weights, types), target)
        hf_folder.write_card(target, card)


def _card(base: Path, mixture: pl.DataFrame, knobs: FinetuneParams) -> str:
    counts = mixture.group_by("kind", "source").len().sort("kind", "source")
    examples = "".join(f"| {kind} | {source} | {count} |\n" for kind, source, count in counts.iter_rows())
    recipe = "".join(f"| {knob} | {value} |\n" for knob, value in vars(knobs).items())
    return (
        f"{hf_folder.front_matter(base)}# {base.name}, fine-tuned\n\n"
        f"The examples of the mixture; of the kind `{GENERATED}` is simple synthetic data "
        "against sycophancy (Wei et al. 2023, arXiv 2308.03958), filtered for what the model knows:\n\n"
        f"| kind | source | examples |\n|---|---|---:|\n{examples}\n"
        f"The recipe:\n\n| knob | value |\n|---|---|\n{recipe}"
    )


def _curve(curve: np.ndarray) -> pl.DataFrame:
    whole = ("step", "target_tokens", "example_tokens")
    return pl.DataFrame(curve.astype(np.float64), schema=list(TRAIN_LOG_COLUMNS)).with_columns(
        pl.col(whole).cast(pl.Int64)
    )


def _validation(losses: np.ndarray, steps: list[int], material: TrainData) -> pl.DataFrame:
    """A row for each step after which the loss was taken, and each source."""
    rows = [
        (step, source, float(loss))
        for step, taken in zip(steps, losses, strict=True)
        for source, loss in zip(material.validation, taken, strict=True)
    ]
    return pl.DataFrame(rows, schema={"step": pl.Int64, "source": pl.String, "loss": pl.Float64}, orient="row")


def _write_csv(table: pl.DataFrame, path: Path) -> None:
    with atomic_file(path) as temporary:
        table.with_columns(pl.selectors.float().round_sig_figs(6)).write_csv(temporary)


if __name__ == "__main__":
    run(distributed_main(main))
