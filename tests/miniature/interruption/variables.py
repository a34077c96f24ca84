"""How a stage of the miniature is told to interrupt itself; sitecustomize.py, beside this file, does so."""

from pathlib import Path


def interrupting(stage: str, moment: str, signal: str) -> dict[str, str]:
    """Variables with which a stage gets `signal` at `moment`: an audit event and a part of what it is about."""
    module = f"stages.{stage.partition('@')[0]}"
    return {"PYTHONPATH": str(Path(__file__).parent), "INTERRUPT": f"{module} {moment} {signal}"}
