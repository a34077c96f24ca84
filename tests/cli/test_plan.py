"""`candor plan` for GPUs, and for unknown models and topologies; TPUs only if libtpu is installed."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import Candor
from tests.helpers.programs import CHECKOUT, cleared
from tests.helpers.tiny_model import TinyModel

PARAMS = CHECKOUT / "presets" / "paper.yaml"


@pytest.fixture(scope="module")
def folder(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose sizes are divisible by eight devices."""
    folder = tmp_path_factory.mktemp("model")
    tiny(folder=folder)
    return folder


def planned(model: Path, topology: str, *arguments: str) -> str:
    """The output of `candor plan` in a separate process, which can simulate any number of devices."""
    command = [sys.executable, "-m", "stages", "plan", "--model", str(model), "--topology", topology, *arguments]
    done = subprocess.run(
        [*command, "--params", str(PARAMS)], cwd=CHECKOUT, env=cleared(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def by_chips(folder: Path) -> dict[int, Any]:
    """The plans for one GPU and for eight, on two meshes."""
    one = json.loads(planned(folder, "h100:1", "--json"))
    eight = json.loads(planned(folder, "h100:8", "--json", "--tensor", "1", "--tensor", "2"))
    return {1: one, 8: eight}


@pytest.mark.compile
def test_eight_judge_eight_times_as_many_with_the_work_of_one_each(by_chips: dict[int, Any]) -> None:
    [one] = by_chips[1]["judging"]["meshes"]
    eight, halved = by_chips[8]["judging"]["meshes"]
    assert (one["tensor"], eight["tensor"], halved["tensor"]) == (1, 1, 2)
    assert (one["rows"], eight["rows"], halved["rows"]) == (128, 8 * 128, 4 * 128)
    assert eight["flops"] == pytest.approx(one["flops"], rel=0.01)
    # Two devices share each product; the few axes that two does not divide are not split.
    assert halved["flops"] == pytest.approx(one["flops"] / 2, rel=0.05)
    assert one["collectives"] == {} and one["bytes_sent"] == 0
    assert eight["collectives"]["all-gather"]["times"] > 0 and eight["bytes_sent"] > 0
    assert by_chips[1]["judging"]["calls"] == 1_563, "two orders of 100,000 prompts, 128 at a time"


@pytest.mark.compile
def test_a_plan_names_the_best_mesh_its_time_and_the_largest_batch(by_chips: dict[int, Any]) -> None:
    for chips, plan in by_chips.items():
        assert (plan["chips"], plan["topology"]) == (chips, f"h100:{chips}")
        for step in (plan["judging"], plan["fine_tuning"]):
            best = min(step["meshes"], key=lambda mesh: step_seconds(mesh, plan, step))
            assert step["best_tensor"] == best["tensor"] and best["fits"]
            assert step["hours"] == pytest.approx(step["calls"] * best["seconds"]["expected"] / 3600)
            assert step["chip_hours"] == pytest.approx(chips * step["hours"])
            assert best["seconds"]["roofline"] <= best["seconds"]["expected"]
            assert best["seconds"]["compiler"] is None
            # A row of so small a model takes a few megabytes.
            assert step["largest_batch"] > 10 * best["rows"]


def step_seconds(mesh: Any, plan: Any, step: Any) -> float:
    calls = -(-200_000 // mesh["rows"]) if step is plan["judging"] else 1_000
    return float(calls * mesh["seconds"]["expected"])


@pytest.mark.compile
def test_a_plan_as_text(folder: Path) -> None:
    lines = planned(folder, "a100:1").splitlines()
    assert lines[0].startswith("a100:1: 1 x A100 80GB SXM, each 312 TFLOP/s (bfloat16), 74.5 GiB at 2,039 GB/s")
    assert lines[2] == "Judging 100,000 prompts of 128 tokens, in both orders of options"
    assert lines[3].split()[:3] == ["CANDOR_TENSOR_PARALLEL", "fits", "GiB"]
    assert lines[4].split()[:2] == ["1", "yes"]
    assert sum(line.startswith("best: CANDOR_TENSOR_PARALLEL=1; ") for line in lines) == 2
    assert "Fine-tuning, 1,000 steps: full, adafactor, 32 examples in rows of 512, layers kept" in lines


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is not None, reason="libtpu is here")
def test_tpus_need_libtpu(candor: Candor) -> None:
    done = candor("plan", "--model", "dense-8b", "--topology", "v4:4x4x4", "--params", PARAMS)
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        "error: v4:4x4x4: compiling for TPUs takes libtpu (no TPU), which is not installed; `make setup EXTRAS=tpu` "
        "brings it\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "dense-8b", "--topology", "v9:2x2"), "the chip 'v9' is not known"),
        (("--model", "dense-9b", "--topology", "h100:1"), "the model 'dense-9b' is not known; known are dense-8b,"),
        (
            ("--model", "dense-8b", "--topology", "h100:3", "--tensor", "2"),
            "--tensor 2: 3 chips cannot be split into groups of 2",
        ),
    ],
)
def test_a_mistake_is_one_line(candor: Candor, arguments: tuple[str, ...], message: str) -> None:
    done = candor("plan", *arguments, "--params", PARAMS)
    assert done.status == 1 and message in done.err and done.err.count("\n") == 1
