"""The registry of data sets: labelled classification sets and instruction sets, by name.

A set's label words complete the claim `"input" is …`. The paper's own sets come from the hub, the others are bundled.
"""

from stages.project.errors import UserError
from stages.text.bundled_sets import BUNDLED_PAIRS, BUNDLED_SETS
from stages.text.hub_pairs import HUB_PAIRS
from stages.text.paper_sets import PAPER_SETS
from stages.text.sets import InstructionSet, LabelledSet

LABELLED: dict[str, LabelledSet] = {entry.name: entry for entry in (*BUNDLED_SETS, *PAPER_SETS)}
INSTRUCTIONS: dict[str, InstructionSet] = {entry.name: entry for entry in (*BUNDLED_PAIRS, *HUB_PAIRS)}

# Every file that the registry reads of the archive: one pass over it extracts them all.
MEMBERS = tuple(dict.fromkeys(name for entry in (*BUNDLED_SETS, *BUNDLED_PAIRS) for name in entry.files.names))


def labelled(name: str) -> LabelledSet:
    """The classification set `name`."""
    if name not in LABELLED:
        raise UserError(f"params.yaml: datasets: {name!r} is not known; known are {', '.join(LABELLED)}")
    return LABELLED[name]


def instructions(name: str) -> InstructionSet:
    """The instruction set `name`."""
    if name not in INSTRUCTIONS:
        raise UserError(f"params.yaml: instructions: {name!r} is not known; known are {', '.join(INSTRUCTIONS)}")
    return INSTRUCTIONS[name]
