"""The one place that reads pydantic's wording."""

from typing import Any


def complaint(problem: Any) -> str:
    """What an entry of `ValidationError.errors()` says of its value, as the second half of a sentence."""
    message: str = problem["msg"]
    return message.replace("Input should", "it should").replace("String should", "it should")
