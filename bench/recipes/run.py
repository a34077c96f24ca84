"""Runs the default, other seeds, and recipes that fail, each as a DVC experiment, and collects their metrics.

Run from the project's folder: `python -m bench.recipes.run`. The experiments run in a clone under .candor/, so that the
project's own outputs do not change. Each adds an entry to results.json; those that have one are not run again.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CLONE = Path(".candor/recipes")
RESULTS = HERE / "results.json"

UNKNOWN = "datasets=[implicatures,metaphor_boolean,social_support]"
RECIPES: dict[str, list[str]] = {
    "default": [],
    "seed 2": ["seed=2"],
    "seed 3": ["seed=3"],
    "instruction data alone": ["mix_ratio=0.0"],
    "prompts alone": ["mix_ratio=1.0"],
    "claims in the paper's form": ["prompt.claims=paper"],
    "a model that knows nothing": ["models=[smollm2-135m-instruct]"],
    "claims that it does not know": [UNKNOWN],
    "claims that it does not know, no filter": [UNKNOWN, "filter.require=nothing"],
}


def main() -> None:
    """Runs the experiments that have no entry in results.json."""
    if not CLONE.exists():
        subprocess.run(["git", "clone", "--quiet", ".", str(CLONE)], check=True)
        # Shared, so that stages that the project has already run are not run again.
        _dvc("cache", "dir", "--local", str(Path(".dvc/cache").resolve()))
    for name, settings in RECIPES.items():
        results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        if name not in results:
            entry = {"command": _command(settings), "model": _model(settings), **_run_experiment(settings)}
            RESULTS.write_text(json.dumps(results | {name: entry}, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(CLONE)


def _run_experiment(settings: list[str]) -> dict[str, Any]:
    """Runs the pipeline with these settings, and returns its metrics."""
    _git("checkout", "--quiet", "--force", "HEAD", "--", ".")
    _dvc(*_command(settings).split(" ")[1:])
    file = CLONE / "reports/metrics" / f"{_model(settings)}.json"
    metrics: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return metrics


def _dvc(*arguments: str) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    variables = os.environ | {"CANDOR_HOME": str(Path(".candor").resolve()), "PATH": path}
    subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=CLONE, env=variables, check=True)


def _command(settings: list[str]) -> str:
    return " ".join(["dvc exp run", *(f"-S {setting}" for setting in settings)])


def _model(settings: list[str]) -> str:
    return "smollm2-135m-instruct" if "models=[smollm2-135m-instruct]" in settings else "smollm2-135m-deferential"


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=CLONE, check=True)


if __name__ == "__main__":
    main()
