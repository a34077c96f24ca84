"""The registry of data sets: labelled classification sets and instruction sets, by name.

A set's label words complete the claim `"input" is …`. The paper's sets come from the hub, the others are bundled.
"""

from stages.core.errors import UserError
from stages.datasets.bundled import BUNDLED_PAIRS, BUNDLED_SETS
from stages.datasets.instructions import HUB_PAIRS
from stages.datasets.kinds import InstructionSet, LabelledSet
from stages.datasets.paper import PAPER_SETS

LABELLED: dict[str, LabelledSet] = {entry.name: entry for entry in (*BUNDLED_SETS, *PAPER_SETS)}
INSTRUCTIONS: dict[str, InstructionSet] = {entry.name: entry for entry in (*BUNDLED_PAIRS, *HUB_PAIRS)}

# Every file that the registry uses from the archive, so that one pass over it can extract them all.
MEMBERS = tuple(dict.fromkeys(name for entry in (*BUNDLED_SETS, *BUNDLED_PAIRS) for name in entry.files.names))


def labelled(name: str) -> LabelledSet:
    """The classification set called `name`.

    Raises:
        UserError: there is no such set.
    """
    if name not in LABELLED:
        raise UserError(f"params.yaml: datasets: {name!r} is not known; known are {', '.join(LABELLED)}")
    return LABELLED[name]


def instructions(name: str) -> InstructionSet:
    """The instruction set called `name`.

    Raises:
        UserError: there is no such set.
    """
    if name not in INSTRUCTIONS:
        raise UserError(f"params.yaml: instructions: {name!r} is not known; known are {', '.join(INSTRUCTIONS)}")
    return INSTRUCTIONS[name]
