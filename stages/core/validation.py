"""Rewords pydantic's error messages; the only code that depends on their wording."""

from typing import Any


def complaint(problem: Any) -> str:
    """The message of an entry of `ValidationError.errors()`, as the second half of a sentence."""
    message: str = problem["msg"]
    return message.replace("Input should", "it should").replace("String should", "it should")
