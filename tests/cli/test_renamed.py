"""Commands that were renamed: the old name prints one line with the new one."""

import pytest

from stages.__main__ import RENAMED
from tests.helpers.command import Candor


@pytest.mark.parametrize("arguments", [(), ("show",), ("model", "--expected", "file.npz")])
@pytest.mark.parametrize("old", RENAMED)
def test_an_old_command_names_the_new_one(candor: Candor, old: str, arguments: tuple[str, ...]) -> None:
    done = candor(old, *arguments)
    assert (done.status, done.out) == (1, "")
    assert done.err == f"error: `candor {old}` is now called `candor {RENAMED[old]}`\n"


def test_old_commands_are_not_in_the_help(candor: Candor) -> None:
    listed = {line.split()[1] for line in candor("--help").out.splitlines() if line.startswith("│ ") and line[2] != " "}
    assert listed >= set(RENAMED.values())
    assert not listed & set(RENAMED)
