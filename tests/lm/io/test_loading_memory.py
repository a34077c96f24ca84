"""Host memory of loading a model, measured: the model, its largest tensor, and little more."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from safetensors.numpy import save_file

from tests.helpers.compilations import COMPILES_ALL
from tests.helpers.programs import CHECKOUT, cleared

pytestmark = [
    pytest.mark.compile,
    pytest.mark.skipif(
        not Path("/proc/self/status").exists(), reason="only Linux reports the peak memory of a process in /proc"
    ),
]

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 40_000,
    "hidden_size": 512,
    "intermediate_size": 2_048,
    "num_hidden_layers": 16,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
EMBEDDING = "model.embed_tokens.weight"
MIB = 2**20
# For compiling the programs that copy pieces to devices.
SLACK = 128 * MIB

# Loads a folder; if there is a .gguf file, it is converted into the folder first.
PROGRAM = """
import re, sys
from pathlib import Path
from stages.lm.io.hf_config import read_config
from stages.lm.gguf.reader import read_gguf, write_model
from stages.lm.nn.sharding import device_mesh, sharding_fn
from stages.lm.io.weights import load_decoder, parameters

def kib(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

folder, *files = map(Path, sys.argv[1:])
leaf_sharding = sharding_fn(device_mesh())
before = kib("VmRSS")
for file in files:
    write_model(read_gguf(file), folder)
model = load_decoder(folder, read_config(folder / "config.json"), leaf_sharding)
shard = model.layers.mlp.gate.kernel[...].addressable_shards[0].data.shape
print((kib("VmHWM") - before) * 1024, parameters(model), *shard)
"""


def shapes() -> dict[str, tuple[int, ...]]:
    D, F, V = (CONFIG[key] for key in ("hidden_size", "intermediate_size", "vocab_size"))
    shape_of: dict[str, tuple[int, ...]] = {EMBEDDING: (V, D), "model.norm.weight": (D,)}
    for layer in range(CONFIG["num_hidden_layers"]):
        block = f"model.layers.{layer}."
        shape_of |= {f"{block}self_attn.{name}_proj.weight": (D, D) for name in "qo"}
        shape_of |= {f"{block}self_attn.{name}_proj.weight": (128, D) for name in "kv"}
        shape_of |= {f"{block}mlp.{name}_proj.weight": (F, D) for name in ("gate", "up")}
        shape_of |= {f"{block}mlp.down_proj.weight": (D, F)}
        shape_of |= {f"{block}{name}_layernorm.weight": (D,) for name in ("input", "post_attention")}
    return shape_of


def model_folder(folder: Path, kind: type) -> Path:
    """A model of 290 MB in float32; its stacked projections and its embedding are each a large part of it."""
    save_file({key: np.ones(shape, kind) for key, shape in shapes().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return folder


def assert_memory_of_the_model(devices: int, *arguments: Path) -> None:
    """Loads it in another process with so many devices."""
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        cwd=CHECKOUT,
        env=cleared() | COMPILES_ALL | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    peak, size, *shard = map(int, process.stdout.split())
    largest = 4 * 40_000 * 512
    assert 4 * size > 280e6
    assert shard == [16, 512 // devices, 2_048]
    assert peak < 4 * size + largest + SLACK


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind = np.float32 if request.param == "float32" else ml_dtypes.bfloat16
    return model_folder(tmp_path_factory.mktemp(request.param), kind)


@pytest.mark.parametrize("devices", [1, 4])
def test_loading_takes_the_model_and_its_largest_tensor(folder: Path, devices: int) -> None:
    assert_memory_of_the_model(devices, folder)


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
def test_so_does_a_gguf_file(as_gguf: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    """A float32 file is memory-mapped, as large as the model; other formats are dequantised."""
    source, out = tmp_path / "source", tmp_path / "out"
    for path in (source, out):
        path.mkdir()
    words = {f"word{number}": number for number in range(CONFIG["vocab_size"])}
    tokenizer = {"model": {"vocab": words, "merges": [["w", "o"]]}}
    (model_folder(source, np.float32) / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    format = GGMLQuantizationType[kind]
    tensors = {} if kind == "F32" else {key: (ones(shape, format), format) for key, shape in shapes().items()}
    assert_memory_of_the_model(4, out, as_gguf(source, tmp_path / "some.gguf", tensors=tensors))


def ones(shape: tuple[int, ...], format: GGMLQuantizationType) -> np.ndarray:
    """One quantised row of ones, repeated."""
    row = quantize(np.ones(shape[-1:], np.float32), format)
    return np.broadcast_to(row, (*shape[:-1], row.size)).copy()
