"""Models from a local hub: downloaded, gated, missing, cut off and resumed, and different from the hub's metadata."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from stages.cli.pin import pin
from stages.core.errors import UserError
from stages.core.hashing import sha256_of
from stages.fetch.hub_pins import HubPin, hub_pin, record
from stages.lm.io.hf_config import read_config
from stages.zoo.configs import config_of
from stages.zoo.materialise import materialise
from stages.zoo.registry import MODELS, HubModel
from stages.zoo.sources import own_source, registry_source
from tests.helpers.loopback_hub import COMMIT, TOKEN, Hub, served
from tests.helpers.programs import CHECKOUT
from tests.helpers.refusals import refusal_of
from tests.helpers.tiny_model import TinyModel

ID = "somebody/tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def source(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with additional files that are not needed."""
    folder = tmp_path_factory.mktemp("source")
    tiny(seed=8, folder=folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    (folder / "README.md").write_text("# Tiny\n", encoding="utf-8")
    return folder


@pytest.fixture
def hub(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has the model, also under the tag v1."""
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    with served(monkeypatch, tmp_path / "scratch") as hub:
        hub.put(ID, files)
        hub.repositories[ID]["v1"] = hub.repositories[ID]["main"]
        yield hub


def materialised(folder: Path, source: str = ID, revision: str | None = COMMIT, sha256: str | None = None) -> Path:
    folder.mkdir()
    materialise(own_source("mine", source, revision, sha256), folder)
    return folder


def refusal(folder: Path, **arguments: Any) -> str:
    return refusal_of(lambda: materialised(folder, **arguments))


@pytest.mark.parametrize("revision", ["v1", COMMIT])
def test_a_complete_model_is_fetched_and_nothing_else(hub: Hub, source: Path, tmp_path: Path, revision: str) -> None:
    folder = materialised(tmp_path / "out", revision=revision)
    needed = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", *needed]
    for name in needed:
        assert (folder / name).read_bytes() == (source / name).read_bytes()
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: cc0-1.0" in card and f"{ID} at revision {COMMIT}" in card
    assert not [*(tmp_path / "scratch").rglob("*.safetensors*")], "it is not there twice"


def test_a_model_that_may_change_is_refused_unless_its_weights_are_named(
    hub: Hub, source: Path, tmp_path: Path
) -> None:
    message = refusal(tmp_path / "one", revision=None)
    assert message.startswith(f"own_models.mine: {ID} is on the hub, where it may change") and COMMIT in message
    materialised(tmp_path / "other", revision=None, sha256=sha256_of(source / WEIGHTS))


@pytest.fixture
def registered(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, whose model the registry names `toy`, in a project without pins."""
    monkeypatch.chdir(tmp_path)
    Path("pins.yaml").write_text("archives: {}\n", encoding="utf-8")
    monkeypatch.setitem(MODELS, "toy", HubModel(ID, 1000, "cc0-1.0"))
    return hub


@pytest.mark.usefixtures("registered")
def test_a_model_of_the_registry_is_pinned_and_then_fetched(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        materialise(registry_source("toy"), tmp_path)
    assert str(caught.value) == (
        "toy: somebody/tiny is not pinned in pins.yaml; run `candor pin toy` to record its revision and hashes, or "
        "name a copy of it that you have: a folder or a .gguf file"
    )
    pin("toy")
    assert hub_pin("toy", ID).files == {WEIGHTS: sha256_of(source / WEIGHTS)}
    (tmp_path / "out").mkdir()
    materialise(registry_source("toy"), tmp_path / "out")
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()
    record("toy", HubPin(ID, COMMIT, {WEIGHTS: "0" * 64}))
    (tmp_path / "changed").mkdir()
    with pytest.raises(UserError, match="^toy: model.safetensors of somebody/tiny is not the file whose SHA-256"):
        materialise(registry_source("toy"), tmp_path / "changed")
    assert list((tmp_path / "changed").iterdir()) == []


def test_a_plan_reads_the_config_of_a_pinned_model_alone(registered: Hub, source: Path) -> None:
    with pytest.raises(UserError, match="^toy: somebody/tiny is not pinned in pins.yaml"):
        config_of("toy")
    record("toy", HubPin(ID, COMMIT, {WEIGHTS: "0" * 64}))
    assert config_of("toy") == read_config(source / "config.json")
    assert [path for path, _ in registered.asked] == ["config.json"]


def test_a_download_that_breaks_off_is_resumed(hub: Hub, source: Path, tmp_path: Path) -> None:
    hub.cuts[WEIGHTS] = [1_000]
    folder = materialised(tmp_path / "out")
    assert (folder / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()
    assert [asked for asked in hub.asked if asked[0] == WEIGHTS] == [(WEIGHTS, None), (WEIGHTS, "bytes=1000-")]


def test_a_later_call_resumes_a_failed_download(hub: Hub, source: Path, tmp_path: Path) -> None:
    hub.cuts[WEIGHTS] = [1_000, 500, 0, 0]
    assert "(the download resumes), or name a folder" in refusal(tmp_path / "one")
    hub.asked.clear()
    folder = materialised(tmp_path / "other")
    assert hub.asked == [(WEIGHTS, "bytes=1500-")], "what was complete is not asked for again"
    assert (folder / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()


def test_a_gated_model_needs_a_login(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add(ID)
    message = refusal(tmp_path / "one")
    assert f"{ID} is gated: accept its terms at {hub.address}/{ID} and log in with `hf auth login`" in message
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    materialised(tmp_path / "other")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "somebody/nothing"}, "has no model somebody/nothing, and there is no such folder here"),
        ({"revision": "v2"}, f"{ID} has no revision 'v2'; name one of its commits, tags or branches"),
        ({"sha256": "ab" * 32}, "own_models.mine: the SHA-256 of "),
        ({"source": "nowhere"}, "own_models.mine.from is nowhere: no model folder and no .gguf file is there"),
    ],
)
def test_a_missing_model_is_one_line(hub: Hub, tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    assert message in refusal(tmp_path / "out", **arguments)


def test_a_revision_of_a_local_model_is_refused(hub: Hub, source: Path, tmp_path: Path) -> None:
    assert "own_models.mine.revision is for models on the hub" in refusal(
        tmp_path / "out", source=str(source), revision="v1"
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        (WEIGHTS, b"short", "its size is 5 bytes, expected "),
        (WEIGHTS, None, "its hash is "),
        ("config.json", None, "its hash is "),
    ],
)
def test_another_file_than_the_hub_says_is_refused(
    hub: Hub, source: Path, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    whole = (source / name).read_bytes()
    hub.wrong[name] = content if content is not None else bytes([whole[0] ^ 1]) + whole[1:]
    message = refusal(tmp_path / "one")
    assert f"{ID}: {name} is not what the hub says" in message and reason in message
    hub.wrong.clear()
    materialised(tmp_path / "other")


@pytest.mark.parametrize(
    ("absent", "message"),
    [
        (WEIGHTS, "has no safetensors weights at"),
        ("config.json", "has no config.json at"),
        ("tokenizer.json", "has no tokenizer.json at"),
    ],
)
def test_a_repository_without_what_is_needed_is_refused(hub: Hub, tmp_path: Path, absent: str, message: str) -> None:
    del hub.repositories[ID]["main"][1][absent]
    assert message in refusal(tmp_path / "out")
    assert hub.asked == []


def test_weights_in_parts_are_received_by_their_index(hub: Hub, tmp_path: Path) -> None:
    files = hub.repositories[ID]["main"][1]
    names = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    files[names[0]] = files.pop(WEIGHTS)
    index = f'{{"weight_map": {{"a": "{names[0]}", "b": "{names[1]}"}}}}'
    files["model.safetensors.index.json"] = index.encode()
    assert f"its model.safetensors.index.json names {names[1]}, which is not there" in refusal(tmp_path / "out")
    assert (names[0], None) in hub.asked


def test_no_hub_answers(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert f"{ID} could not be fetched (" in refusal(tmp_path / "out")


def test_the_stage_asks_the_hub_that_is_set(hub: Hub, source: Path, tmp_path: Path) -> None:
    params = f"own_models:\n  mine: {{from: {ID}, revision: {COMMIT}}}\n"
    (tmp_path / "params.yaml").write_text(params, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "stages.base", "mine", "out"],
        cwd=tmp_path,
        env=os.environ | {"HF_ENDPOINT": hub.address, "PYTHONPATH": str(CHECKOUT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (source / WEIGHTS).read_bytes()
