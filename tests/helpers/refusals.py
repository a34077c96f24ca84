"""What is said to a user whose input is refused."""

from collections.abc import Callable

import pytest

from stages.core.errors import UserError


def refusal_of(call: Callable[[], object], start: object = "", kind: type[UserError] = UserError) -> str:
    """The one line with which `call` refuses what it was given; it begins with `start`."""
    with pytest.raises(kind) as caught:
        call()
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(start)), line
    return line
