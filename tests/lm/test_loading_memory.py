"""How much of this host's memory loading takes, measured: the model, the tensor at hand, and little more."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

CHECKOUT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 40_000,
    "hidden_size": 512,
    "intermediate_size": 2_048,
    "num_hidden_layers": 16,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 64,
    "tie_word_embeddings": True,
}
MIB = 2**20
# Compiling the programs that put the pieces in their places; the rest of the half GiB is left to larger models.
SLACK = 128 * MIB

PROGRAM = """
import re, sys
from pathlib import Path
from typing import Any
import jax
from stages.lm.config import read_config
from stages.lm.sharding import device_mesh, placer
from stages.lm.weights import load, parameters

def kib(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

folder = Path(sys.argv[1])
place = placer(device_mesh())
before = kib("VmRSS")
model = load(folder, read_config(folder / "config.json"), place)
shard = model.layers.mlp.gate.kernel[...].addressable_shards[0].data.shape
print((kib("VmHWM") - before) * 1024, parameters(model), *shard)
"""


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 290 MB in float32 whose stacked projections, and whose embedding, are each a good part of it."""
    folder = tmp_path_factory.mktemp(request.param)
    D, F, V = (CONFIG[key] for key in ("hidden_size", "intermediate_size", "vocab_size"))
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,)}
    for layer in range(CONFIG["num_hidden_layers"]):
        block = f"model.layers.{layer}."
        shapes |= {f"{block}self_attn.{name}_proj.weight": (D, D) for name in "qo"}
        shapes |= {f"{block}self_attn.{name}_proj.weight": (128, D) for name in "kv"}
        shapes |= {f"{block}mlp.{name}_proj.weight": (F, D) for name in ("gate", "up")}
        shapes |= {f"{block}mlp.down_proj.weight": (D, F)}
        shapes |= {f"{block}{name}_layernorm.weight": (D,) for name in ("input", "post_attention")}
    kind = np.float32 if request.param == "float32" else ml_dtypes.bfloat16
    save_file({key: np.ones(shape, kind) for key, shape in shapes.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says how much memory a process has taken")
@pytest.mark.parametrize("devices", [1, 4])
def test_loading_takes_the_model_and_its_largest_tensor(folder: Path, devices: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        cwd=CHECKOUT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    peak, size, *shard = map(int, done.stdout.split())
    largest = 4 * 40_000 * 512
    assert 4 * size > 280e6
    assert shard == [16, 512 // devices, 2_048]
    assert peak < 4 * size + largest + SLACK
