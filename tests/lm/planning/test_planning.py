"""Plans for devices that are not here: counts by hand, against XLA's own, and against the memory of a real run."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from stages.core.errors import ModelError
from stages.lm.io import weights
from stages.lm.io.hf_config import parse_config
from stages.lm.lora.adapters import LoraConfig, add_adapters
from stages.lm.nn.config import ModelConfig
from stages.lm.nn.sharding import device_mesh
from stages.lm.planning.chips import CHIPS, Topology, parse_topology
from stages.lm.planning.counting import Collective, ProgramCounts, count_program
from stages.lm.planning.decoders import DECODERS
from stages.lm.planning.hlo import parse_hlo
from stages.lm.planning.programs import (
    PROMPT_TOKENS,
    Program,
    Recipe,
    judge_program,
    training_program,
    training_shape,
)
from stages.lm.planning.roofline import step_time
from stages.lm.planning.search import USABLE_MEMORY, _largest_rows
from stages.lm.training.memory import abstract_batches, bytes_beyond_arguments
from stages.lm.training.optimizer import OptimizerConfig, make_optimizer
from stages.lm.training.step import compiled_step
from tests.helpers.tiny_model import CONFIG, FLOAT32, TinyModel

pytestmark = pytest.mark.usefixtures("lightly_compiled")

RECIPE = Recipe(
    OptimizerConfig("adafactor", 1e-3, "constant", warmup_steps=0, weight_decay=0.0, max_grad_norm=1.0),
    steps=10, batch_size=8, gradient_accumulation_steps=1, max_tokens=256, dtype=FLOAT32, remat=False, lora=None,
)  # fmt: skip

# Five iterations; each gathers a weight among two chips and multiplies: 2 x 4 x 8 x 16 = 1,024 operations.
LOOP = """HloModule jit_f, is_scheduled=true

%fused (p.0: f32[5,4,16], p.1: s32[]) -> f32[4,16] {
  %p.0 = f32[5,4,16]{2,1,0} parameter(0)
  %p.1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  %cut = f32[1,4,16]{2,1,0} dynamic-slice(%p.0, %p.1, %zero, %zero), dynamic_slice_sizes={1,4,16}
  ROOT %same = f32[4,16]{1,0} bitcast(%cut)
}

%body (p: (s32[], f32[4,8], f32[5,4,16])) -> (s32[], f32[4,8], f32[5,4,16]) {
  %p = (s32[], f32[4,8]{1,0}, f32[5,4,16]{2,1,0}) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[4,8]{1,0} get-tuple-element(%p), index=1
  %w = f32[5,4,16]{2,1,0} get-tuple-element(%p), index=2
  %own = f32[4,16]{1,0} fusion(%w, %i), kind=kLoop, calls=%fused
  %all = f32[8,16]{1,0} all-gather(%own), channel_id=1, replica_groups={{0,1},{2,3}}, dimensions={0}
  %y = f32[4,16]{1,0:S(1)} dot(%x, %all), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %next = (s32[], f32[4,8]{1,0}, f32[5,4,16]{2,1,0}) tuple(%i, %x, %w)
}

%condition (p.2: (s32[], f32[4,8], f32[5,4,16])) -> pred[] {
  %p.2 = (s32[], f32[4,8]{1,0}, f32[5,4,16]{2,1,0}) parameter(0)
  %i.2 = s32[] get-tuple-element(%p.2), index=0
  %limit = s32[] constant(5)
  ROOT %less = pred[] compare(%i.2, %limit), direction=LT
}

ENTRY %main (a: (s32[], f32[4,8], f32[5,4,16])) -> (s32[], f32[4,8], f32[5,4,16]) {
  %a = (s32[], f32[4,8]{1,0}, f32[5,4,16]{2,1,0}) parameter(0)
  ROOT %loop = (s32[], f32[4,8]{1,0}, /*index=2*/f32[5,4,16]{2,1,0}) while(%a), condition=%condition, body=%body
}
"""


def test_a_loop_counts_once_for_each_iteration() -> None:
    once, unrolled = count_program(parse_hlo(LOOP), 4, unroll_loops=False), count_program(parse_hlo(LOOP), 4)
    assert (once.flops, unrolled.flops) == (1_024, 5_120)
    all_gather = Collective("all-gather", group=2, bytes=8 * 16 * 4)
    assert unrolled.collectives == {all_gather: 5}
    assert unrolled.sent == 5 * 8 * 16 * 4 / 2, "each sends its half"
    # A slice of 256 bytes, by an index of 4, is read and written; the gather reads 256 and writes 512; the product
    # reads 128 and 512, and its result stays on the chip.
    assert unrolled.bytes == 5 * (256 + 4 + 256 + 256 + 512 + 128 + 512)


@pytest.mark.parametrize(
    ("groups", "size"),
    [("{{0,1,2},{3,4,5}}", 3), ("[2,4]<=[4,2]T(1,0)", 4), ("mesh['axis_0'=4,'axis_1'=2] {'axis_1'}", 2), ("{}", 16)],
)
def test_groups_are_parsed_in_each_notation(groups: str, size: int) -> None:
    text = LOOP.replace("{{0,1},{2,3}}", groups)
    [collective] = count_program(parse_hlo(text), 16).collectives
    assert collective.group == size


@pytest.mark.parametrize(
    ("kind", "sent"),
    [("all-gather", 75), ("reduce-scatter", 75), ("all-to-all", 75), ("all-reduce", 150), ("collective-permute", 100)],
)
def test_the_bytes_that_each_of_four_chips_sends_of_a_hundred(kind: str, sent: float) -> None:
    assert Collective(kind, 4, 100).sent == sent


# As a TPU's compiler writes them: a batched product [16] x (8 x 32) x (32 x 24), and a plain one of several axes.
PRODUCTS = {
    "f32[16,8,24]{2,1,0} convolution(%x, %y), window={size=16 stride=15 lhs_dilate=16}, dim_labels=0bf_0io->0bf": (
        ("f32[16,8,32]", "f32[16,32,24]"), 2 * 16 * 8 * 24 * 32,
    ),
    "f32[8,3,24]{2,1,0} convolution(%x, %y), window={size=3 pad=2_2 rhs_reversal=1}, dim_labels=b0f_0io->b0f": (
        ("f32[8,1,32]", "f32[3,32,24]"), 2 * 8 * 3 * 24 * 32,
    ),
}  # fmt: skip


@pytest.mark.parametrize("line", PRODUCTS)
def test_matrix_products_in_the_form_of_convolutions(line: str) -> None:
    (left, right), flops = PRODUCTS[line]
    text = (
        f"ENTRY %main (x: {left}, y: {right}) -> f32[] {{\n  %x = {left} parameter(0)\n  %y = {right} parameter(1)\n"
        f'  ROOT %z = {line}, metadata={{op_name="f(g)"}}\n}}\n'
    )
    assert count_program(parse_hlo(text), 1).flops == flops


def test_counts_with_loops_counted_once_are_those_of_xla() -> None:
    def layers(x: jax.Array, weights: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]

    compiled: Any = jax.jit(layers).lower(jnp.zeros((32, 64)), jnp.zeros((7, 64, 64))).compile()
    analysis, module = compiled.cost_analysis(), parse_hlo(compiled.as_text())
    assert count_program(module, 1, unroll_loops=False).flops == pytest.approx(analysis["flops"], rel=0.01)
    assert count_program(module, 1).flops == 7 * 2 * 32 * 64 * 64


# ---- the real steps


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return parse_config(CONFIG | {"vocab_size": 300})


def forward_flops(config: ModelConfig, tokens: int, logit_positions: int, keys: int) -> int:
    """Operations of a forward pass: of `tokens` with `keys` keys each, `logit_positions` of them through the head."""
    D, N, K, H, F = config.width, config.heads, config.kv_heads, config.head_width, config.feed_forward
    layer = D * (N + 2 * K) * H + N * H * D + 3 * D * F + 2 * N * H * keys
    return 2 * (config.layers * tokens * layer + logit_positions * D * config.vocab)


@pytest.mark.compile
def test_judging_has_the_operations_of_a_forward_pass(config: ModelConfig) -> None:
    program = judge_program(config, FLOAT32, device_mesh(), 1_024)
    assert program.rows == 8 and program.counts is not None
    tokens = program.rows * PROMPT_TOKENS
    expected = forward_flops(config, tokens, logit_positions=program.rows * 4, keys=PROMPT_TOKENS)
    assert program.counts.flops == expected
    weight_bytes = 4 * sum(map(math.prod, weights._abstract(config)[1].values()))
    assert program.bytes > weight_bytes, "the weights and the activations"
    assert not program.counts.collectives


@pytest.mark.compile
def test_training_has_three_times_the_operations_and_recomputes_attention_or_all_layers(config: ModelConfig) -> None:
    shape = training_shape(RECIPE, RECIPE.batch_size, 1)
    assert (shape.rows, shape.length, shape.targets) == (4, 256, 24), "two examples a row, of three target tokens"
    forward = forward_flops(config, 4 * 256, logit_positions=24, keys=256)
    program = training_program(config, RECIPE, device_mesh())
    with_remat = training_program(config, replace(RECIPE, remat=True), device_mesh())
    assert program.counts is not None and with_remat.counts is not None
    # The product that reads the embedding needs no gradient of its input: a thousandth here.
    attention = forward - forward_flops(config, 4 * 256, logit_positions=24, keys=0)
    assert program.counts.flops == pytest.approx(3 * forward + attention, rel=0.01)
    layers = forward - 2 * 24 * config.width * config.vocab
    assert with_remat.counts.flops == pytest.approx(3 * forward + layers, rel=0.1)
    assert with_remat.bytes < program.bytes


@pytest.mark.compile
@pytest.mark.parametrize("lora", [None, LoraConfig(("query", "down"), 4, alpha=1.0)])
def test_the_planned_memory_of_a_step_is_that_of_a_real_run(tiny: TinyModel, lora: Any) -> None:
    decoder = tiny().decoder
    recipe = replace(RECIPE, lora=lora)
    planned = training_program(decoder.config, recipe, device_mesh())
    if lora is not None:
        add_adapters(decoder, lora, seed=0)
    from stages.lm.training.loop import trained_kind

    graph, trained, frozen = nnx.split(decoder, trained_kind(decoder), ...)  # type: ignore[misc]
    optimizer = make_optimizer(recipe.optimizer, recipe.steps)
    step = compiled_step(graph, optimizer, trained, device_mesh(), FLOAT32, recipe.remat)
    state = (trained, optimizer.init(trained), frozen)
    batches = abstract_batches(training_shape(recipe, recipe.batch_size, 1), 1, device_mesh())
    arguments = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((*state, batches)))
    assert planned.bytes == pytest.approx(arguments + bytes_beyond_arguments(step, *state, batches), rel=0.01)


@pytest.mark.compile
def test_the_extrapolated_largest_batch_is_what_the_compiler_allows(config: ModelConfig) -> None:
    def program(examples: int) -> Program:
        return training_program(config, RECIPE, device_mesh(), examples)

    single, doubled = program(8), program(16)
    memory = program(40).bytes / USABLE_MEMORY
    chip = replace(CHIPS["v4"], memory=int(memory))
    assert _largest_rows(single, doubled, Topology(chip, "v4", "1x1x1"), 2) == pytest.approx(20, abs=2)


@pytest.mark.parametrize(("name", "billions"), [("dense-8b", 8.63), ("dense-62b", 62.50), ("dense-540b", 540.35)])
def test_configs_have_the_published_numbers_of_parameters(name: str, billions: float) -> None:
    _, leaves = weights._abstract(parse_config(DECODERS[name]))
    # A layer has two norms here, and one in PaLM.
    assert sum(map(math.prod, leaves.values())) / 1e9 == pytest.approx(billions, abs=0.01)


# ---- chips


def test_step_times_are_counts_over_peak_rates() -> None:
    counts = ProgramCounts(275e12, 2 * 1_200e9, 3 * 1_050e6, {Collective("all-gather", 2, 2 * int(300e9)): 4})
    tpu = step_time(counts, parse_topology("v4:2x2x1"))
    assert (tpu.arithmetic, tpu.memory, tpu.compiler, tpu.links) == (1, 2, 3, 4)
    assert (tpu.roofline, tpu.expected) == (4, 7)
    gpu = step_time(counts, parse_topology("h100:16"))
    assert gpu.compiler is None and gpu.expected == gpu.memory + gpu.links
    assert gpu.links == 4 * 300e9 / 50e9, "beyond eight chips the network between nodes is the slowest connection"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v7:2x2", "the chip 'v7' is not known; known are v4, v5e, v5p, v6e, a100, h100"),
        ("v4:4x4", "v4 is followed by its chips, as in v4:4x4x4"),
        ("v5e", "v5e is followed by its chips, as in v5e:4x4"),
        ("h100:0", "h100 is followed by its chips, as in h100:8"),
    ],
)
def test_an_invalid_topology_is_refused(text: str, message: str) -> None:
    with pytest.raises(ModelError) as refused:
        parse_topology(text)
    assert str(refused.value) == f"--topology {text!r}: {message}"


@pytest.mark.compile
def test_compiling_for_tpus_needs_no_tpu(config: ModelConfig) -> None:
    pytest.importorskip("libtpu", reason="libtpu comes with `make setup EXTRAS=tpu`")
    from stages.lm.planning.chips import devices_of
    from stages.lm.planning.programs import mesh_of

    topology = parse_topology("v4:2x2x1")
    mesh = mesh_of(devices_of(topology), 1)
    program = judge_program(config, jnp.dtype("bfloat16"), mesh, 1_024)
    assert program.rows == 4 * 8 and program.counts is not None
    # The products of a TPU's program are convolutions: none is computed twice, and padding does not count.
    assert program.counts.flops == forward_flops(config, 8 * PROMPT_TOKENS, 8 * 4, PROMPT_TOKENS)
    assert program.counts.cycles > 0 and program.counts.collectives
