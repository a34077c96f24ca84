"""Stage `finetune`: trains the base model on the mixture.

Several processes may run it with the same arguments in one folder (CANDOR_PROCESSES): they train together, and the
first one writes the outputs.
"""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import polars as pl

from stages.core.errors import run
from stages.core.files import atomic_dir
from stages.core.hashing import code_of, hash_of
from stages.core.params import read_params
from stages.core.progress import progress
from stages.core.scratch import checkpoint_seconds, locked_dir, scratch_dir
from stages.lm.distributed import environment, processes
from stages.lm.distributed.launch import distributed_main
from stages.lm.io.load import open_model
from stages.lm.lora.adapters import LoraConfig
from stages.lm.nn.dtypes import compute_dtype
from stages.lm.nn.sharding import device_mesh, sharding_fn
from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.tokens.prompt_formats import Prompts, prompts_of
from stages.lm.training.examples import TrainingText, encode_examples
from stages.lm.training.finetuning import exported, finetune
from stages.lm.training.host_memory import free_bytes
from stages.lm.training.model_card import model_card
from stages.lm.training.perf_log import perf_log
from stages.lm.training.state import TRAIN_LOG_COLUMNS, TrainConfig, TrainData, TrainHooks
from stages.params.finetune import FinetuneParams
from stages.tables.logs import write_train_log, write_validation_log
from stages.tables.parquet import read_table
from stages.tables.schemas import GENERATED, MIXTURE, VALIDATION

# The rooms whose code determines the result: a stopped run starts over if the code in one of them changed.
ROOMS = ("lm/nn", "lm/io", "lm/tokens", "lm/lora", "lm/training")


def main(
    mixture: Path,
    validation: Path,
    base: Path,
    out_checkpoints: Path,
    out_model: Path,
    out_log: Path,
    out_validation_log: Path,
) -> None:
    """Trains the model folder BASE on MIXTURE; writes Orbax checkpoints, a model folder and the logs."""
    params, is_first = read_params(FinetuneParams), processes.is_first()
    key = hash_of([mixture, validation, *sorted(base.iterdir()), *code_of(*ROOMS)], params)
    scratch = scratch_dir() / "finetune" / key
    with locked_dir(scratch, f"fine-tuning {base.name}") if is_first else nullcontext():
        mesh = device_mesh(environment.tensor_parallel())
        model = open_model(base, sharding_fn(mesh))
        data = _read_data(mixture, validation, prompts_of(base, model, params.prompt_format), params)
        config = TrainConfig.from_params(params, compute_dtype(params.dtype))
        lora = LoraConfig(**vars(params.lora)) if params.method == "lora" else None
        with perf_log(scratch_dir() / "logs") as log, progress("fine-tuning", params.steps, "steps") as advance:
            hooks = TrainHooks(scratch, checkpoint_seconds(), advance, free_bytes, log=log)
            tuned, state = finetune(model.decoder, data, config, lora, params.seed, hooks, mesh)
        if is_first:
            counts = read_table(mixture, MIXTURE).group_by("kind", "source").len().sort("kind", "source")
            tuned.write(base, out_model, model_card(base, counts.iter_rows(), GENERATED, vars(params)))
            with atomic_dir(out_checkpoints) as target:
                shutil.copytree(exported(scratch), target, dirs_exist_ok=True)
            write_train_log(state.train_log, TRAIN_LOG_COLUMNS, out_log)
            write_validation_log(state.validation_log, config.evaluated_steps, [*data.validation], out_validation_log)
    if is_first:
        shutil.rmtree(scratch)


def _read_data(mixture: Path, validation: Path, prompts: Prompts, params: FinetuneParams) -> TrainData:
    by_source = read_table(validation, VALIDATION).partition_by("source", as_dict=True).items()
    return TrainData(
        _encode(read_table(mixture, MIXTURE), prompts, params),
        {str(source): _encode(rows, prompts, params) for (source,), rows in by_source},
    )


def _encode(rows: pl.DataFrame, prompts: Prompts, params: FinetuneParams) -> Sequence[PromptCompletion]:
    texts = [TrainingText(*row) for row in rows.select("row_id", "turns", "answer_prefix", "target").iter_rows()]
    examples, cut = encode_examples(prompts, texts, params.max_tokens, cut_long=params.overlength == "cut")
    if cut:
        print(f"{cut} of {len(texts)} examples were cut to finetune.max_tokens ({params.max_tokens})")
    return examples


if __name__ == "__main__":
    run(distributed_main(main))
