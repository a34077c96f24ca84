"""Asks DVC which stages it would run, for each of several texts of params.yaml; run in a project's folder.

Reads the texts as a JSON list from standard input; the last line of its output is a JSON list of lists of stages. A
program of its own: DVC's own deprecation warnings would stop a test, and one process asks many times as fast as many.
"""

import json
import sys
from pathlib import Path

from dvc.repo import Repo

PARAMS = Path("params.yaml")


def main() -> None:
    """Asks for each text, then puts params.yaml back."""
    before = PARAMS.read_bytes()
    try:
        plans = [_plan(text) for text in json.load(sys.stdin)]
    finally:
        PARAMS.write_bytes(before)
    print(json.dumps(plans))


def _plan(text: str) -> list[str]:
    PARAMS.write_text(text, encoding="utf-8")
    with Repo() as repo:
        # A plain dry run takes what comes after a changed stage for unchanged, since nothing has been written anew.
        stages = repo.reproduce(all_pipelines=True, dry=True, force_downstream=True)
    return [stage.addressing for stage in stages]


if __name__ == "__main__":
    main()
