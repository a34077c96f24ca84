"""Counts one device's work as the number of devices grows, from the real steps compiled for simulated devices.

See README.md.
"""

from collections.abc import Iterator

import jax.numpy as jnp

from stages.lm.io.hf_config import parse_config
from stages.lm.planning.chips import devices_of, parse_topology
from stages.lm.planning.programs import Program, Recipe, judge_program, mesh_of, training_program
from stages.lm.training.optimizer import OptimizerConfig

# SmolLM2-135M's sizes, with 6 of its 30 layers.
CONFIG = {
    "model_type": "llama", "vocab_size": 49_152, "hidden_size": 576, "num_hidden_layers": 6, "num_attention_heads": 9,
    "num_key_value_heads": 3, "head_dim": 64, "intermediate_size": 1_536, "max_position_embeddings": 2_048,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
}  # fmt: skip
RECIPE = Recipe(
    OptimizerConfig("adamw", 1e-3, "constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0),
    steps=64, batch_size=32, gradient_accumulation_steps=1, max_tokens=256, dtype=jnp.dtype("float32"), remat=False,
    lora=None,
)  # fmt: skip
# Devices, and how many of them share each matrix product.
MESHES = ((1, 1), (2, 1), (4, 1), (8, 1), (3, 3), (6, 3))
HEADER = (
    "| devices | tensor | rows | GFLOP | MB moved | MB sent | MiB | all-gather | all-reduce | reduce-scatter | other |"
)


def main() -> None:
    """Prints a table for each kind of scaling."""
    config = parse_config(CONFIG)
    devices = devices_of(parse_topology("h100:8"))

    def judging() -> Iterator[tuple[int, int, Program]]:
        for count, tensor in MESHES:
            yield count, tensor, judge_program(config, RECIPE.dtype, mesh_of(devices[:count], tensor), 2_048)

    def training(per_group: int | None) -> Iterator[tuple[int, int, Program]]:
        for count, tensor in MESHES:
            examples = 32 if per_group is None else per_group * count // tensor
            yield count, tensor, training_program(config, RECIPE, mesh_of(devices[:count], tensor), examples)

    _table("Judging: 2,048 tokens for each group of devices (weak)", judging())
    _table("Fine-tuning: 16 examples for each group of devices (weak)", training(16))
    _table("Fine-tuning: 32 examples in all (strong)", training(None))


def _table(title: str, programs: Iterator[tuple[int, int, Program]]) -> None:
    print(f"\n{title}\n\n{HEADER}\n|{'---:|' * HEADER.count(' | ')}---:|")
    for count, tensor, program in programs:
        assert program.counts is not None
        sent = {kind: totals["sent"] / 1e6 for kind, totals in program.counts.by_kind().items()}
        main_kinds = [sent.pop(kind, 0.0) for kind in ("all-gather", "all-reduce", "reduce-scatter")]
        sizes = (
            program.counts.flops / 1e9,
            program.counts.bytes / 1e6,
            program.counts.sent / 1e6,
            program.bytes / 2**20,
        )
        cells = [f"{size:,.1f}" for size in (*sizes, *main_kinds, sum(sent.values()))]
        print(f"| {count} | {tensor} | {program.rows} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
