import json
from pathlib import Path

import polars as pl
import pytest

from stages.lm.io.hf_config import read_config
from stages.lm.io.weights import check_weights
from tests.helpers.programs import CHECKOUT
from tests.miniature.project import Project, make, stages_run

pytestmark = pytest.mark.pipeline

MIXTURE = "data/mixture/tiny-a.parquet"


def test_an_experiment_reruns_what_its_key_reaches_and_can_be_compared(project: Project) -> None:
    done = project.dvc("exp", "run", "--name", "half", "--set-param", "mix_ratio=0.5")
    assert done.returncode == 0, done.stderr
    assert stages_run(done) == [
        "check", "mix@tiny-a", "finetune@tiny-a", "evaluate@tiny-a-tuned", "measure@tiny-a", "curve@tiny-a", "report",
    ]  # fmt: skip
    changed = json.loads(project.dvc("metrics", "diff", "--json").stdout)["reports/metrics/tiny-a.json"]
    assert {key.split(".")[1] for key in changed} <= {"tuned", "delta", "delta_low", "delta_high"}
    assert "claims_log_odds_shift.tuned" in changed
    assert project.dvc("plots", "diff", "--out", "compared").returncode == 0
    sides = {path.name.partition("_")[0] for path in (project.root / "compared/static").glob("*headline.svg")}
    assert sides == {"HEAD", "workspace"}
    shown = pl.read_csv(project.dvc("exp", "show", "--csv").stdout.encode())
    assert shown.filter(Experiment="half")["mix_ratio"].to_list() == [0.5]


def test_an_experiment_keeps_the_comments_of_params(project: Project) -> None:
    params = project.root / "params.yaml"
    params.write_bytes((CHECKOUT / "params.yaml").read_bytes())
    project.commit("The project's own params.yaml")
    before = comments(params)
    done = project.dvc("exp", "run", "--set-param", "models=[smollm2-135m-instruct,mine]",
                       "--set-param", "+own_models.mine.from=own/tiny-a", "check")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(before) > 40 and comments(params) == before


def comments(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip().startswith("#")]


def test_a_fresh_copy_with_a_second_model_gives_the_same_bytes(finished: Project, tmp_path: Path) -> None:
    project = make(tmp_path / "elsewhere")
    scratch = {"CANDOR_HOME": str(tmp_path / "scratch of mine")}
    done = project.dvc("exp", "run", "--set-param", "models=[tiny-a,tiny-b]", variables=scratch)
    assert done.returncode == 0, done.stderr
    assert not (project.root / ".candor").exists()
    # The page and its figure of all models show both, and no two saves of a checkpoint are equal. Versions name the
    # commit that a run began at, and each of the two has a history of its own.
    told_apart = (
        "reports/index.html", "reports/plots/all-models", "reports/png/all-models", "reports/versions/",
        "models/checkpoints/",
    )  # fmt: skip
    first, both = ({path: digest for path, digest in one.sums().items() if not path.startswith(told_apart)}
                   for one in (finished, project))  # fmt: skip
    assert both.items() >= first.items()
    assert {path.replace("tiny-b", "tiny-a") for path in both} == set(first)
    page = (project.root / "reports/index.html").read_text(encoding="utf-8")
    assert "tiny-a" in page and "tiny-b" in page


def test_the_share_of_prompts_goes_from_none_to_all(project: Project) -> None:
    for share, kinds in ((0.0, {"instruction"}), (1.0, {"generated"})):
        project.set("mix_ratio", share)
        done = project.dvc("repro", "check", "mix")
        assert done.returncode == 0, done.stderr
        assert set(pl.read_parquet(project.root / MIXTURE)["kind"]) == kinds
    project.set("mix_ratio", 1)
    done = project.dvc("repro", "check", "mix")
    assert (done.returncode, stages_run(done)) == (0, [])  # 1 is 1.0


def test_a_fresh_copy_does_without_instruction_sets(tmp_path: Path) -> None:
    project = make(tmp_path / "a project")
    project.set("instructions", [])
    project.set("mix_ratio", 1.0)
    done = project.dvc("repro", "check", "clean")
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(project.root / "data/pairs.parquet").is_empty()


def test_a_filter_that_keeps_nothing_stops_the_mix_in_one_line(project: Project) -> None:
    project.set("filter.require", "both_orders")  # the tiny model says (B) to everything
    done = project.dvc("repro", "mix")
    assert done.returncode != 0
    assert stages_run(done) == ["filter@tiny-a", "mix@tiny-a"]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and errors[0].startswith("error: the filter kept no prompt")
    assert "Traceback" not in done.stderr
    report = json.loads((project.root / "reports/filter/tiny-a.json").read_text(encoding="utf-8"))
    assert (report["kept"], report["verdict"]) == (0, "too little knowledge")
    assert list((project.root / "data/mixture").iterdir()) == []

    project.set("mix_ratio", 0.0)
    assert project.dvc("repro", "mix").returncode == 0
    assert set(pl.read_parquet(project.root / MIXTURE)["kind"]) == {"instruction"}


def test_adapters_leave_themselves_beside_the_merged_weights(project: Project) -> None:
    project.set("finetune.method", "lora")
    done = project.dvc("repro", "finetune")
    assert done.returncode == 0, done.stderr
    tuned = project.root / "models/tuned/tiny-a"
    check_weights(tuned, read_config(tuned / "config.json"))
    assert sorted(path.name for path in (tuned / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
