"""Written model folders, loaded with Hugging Face Transformers if it is installed: the same logits and tokens."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.lm.gguf.reader import read_gguf, write_model
from stages.lm.gguf.tokenizer import PRE_TOKENIZERS
from stages.lm.io.hf_config import read_config
from stages.lm.io.safetensors_write import as_pending, save_tensors
from stages.lm.io.tokenizer import load_tokenizer
from stages.lm.io.weights import load_decoder, tensors_of
from stages.lm.planning.parity import largest_difference
from tests.helpers.families import FAMILIES
from tests.helpers.tiny_model import TinyModel

pytestmark = [
    pytest.mark.peer,
    pytest.mark.usefixtures("exact"),
    pytest.mark.filterwarnings("default"),
]

ARCHITECTURES = {"gemma3_text": "Gemma3ForCausalLM"}


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_computes_the_same_logits(tiny: TinyModel, tmp_path: Path, family: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tiny(seed=5, folder=tmp_path / "source", **FAMILIES[family])
    written = Path(shutil.copytree(tmp_path / "source", tmp_path / "written"))
    weights = tensors_of(load_decoder(written, read_config(written / "config.json")))
    save_tensors(as_pending(weights, dict.fromkeys(weights, "F32")), written)
    architecture = ARCHITECTURES.get(family, f"{family.capitalize()}ForCausalLM")
    config = json.loads((written / "config.json").read_text(encoding="utf-8")) | {"architectures": [architecture]}
    (written / "config.json").write_text(json.dumps(config), encoding="utf-8")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        written, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    tokens = np.random.default_rng(1).integers(2, 200, (2, 24)).astype(np.int32)
    with torch.no_grad():
        logits = theirs(torch.tensor(tokens.astype(np.int64))).logits.numpy()
    assert largest_difference(written, tokens, np.array([24, 24]), logits).size < 1e-4


TEXTS = ("it's 1234\n\n no", "IT'S (A).\n 12 ß", "<|begin|>no<|end|>\n  this  ", "", " is")


@pytest.mark.parametrize("kind", PRE_TOKENIZERS)
def test_transformers_gives_the_same_tokens(
    tiny: TinyModel, as_gguf: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    """A folder converted from a GGUF file, for each kind of vocabulary that is supported."""
    transformers = pytest.importorskip("transformers")
    tiny(folder=tmp_path / "source")
    file = as_gguf(tmp_path / "source", tmp_path / "some.gguf", fields={"tokenizer.ggml.pre": kind})
    (tmp_path / "written").mkdir()
    write_model(read_gguf(file), tmp_path / "written")
    theirs, ours = (
        transformers.AutoTokenizer.from_pretrained(tmp_path / "written"),
        load_tokenizer(tmp_path / "written"),
    )
    assert [theirs(text)["input_ids"] for text in TEXTS] == [ours.encode(text).ids for text in TEXTS]
    assert (theirs.bos_token, theirs.eos_token) == ("<|begin|>", "<|end|>")
