"""Variables that make a stage of the miniature interrupt itself; sitecustomize.py in this folder reads them."""

from pathlib import Path

from tests.helpers.compilations import ADDS_NONE


def interrupting(stage: str, moment: str, signal: str) -> dict[str, str]:
    """Variables with which a stage gets `signal` at `moment`: an audit event and a part of what it is about."""
    module = f"stages.{stage.partition('@')[0]}"
    return {"PYTHONPATH": str(Path(__file__).parent), "INTERRUPT": f"{module} {moment} {signal}"} | ADDS_NONE
