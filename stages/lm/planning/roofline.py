"""How long what was counted takes on a chip."""

from dataclasses import dataclass

from stages.lm.planning.chips import Topology
from stages.lm.planning.counting import ProgramCounts


@dataclass(frozen=True)
class Seconds:
    """Of one call of a program: its arithmetic, its memory's traffic and its exchanges, each alone at full speed.

    `compiler` is what the compiler expects all of its instructions but the exchanges to take; None where it says none.
    """

    arithmetic: float
    memory: float
    links: float
    compiler: float | None

    @property
    def at_best(self) -> float:
        """The roofline: all three side by side, each at its maker's figure. Nothing is faster."""
        return max(self.arithmetic, self.memory, self.links)

    @property
    def expected(self) -> float:
        """Exchanges after computing, that as the compiler says, or by the roofline where it says nothing."""
        computing = max(self.arithmetic, self.memory) if self.compiler is None else self.compiler
        return computing + self.links


def seconds(counts: ProgramCounts, topology: Topology) -> Seconds:
    """How long a chip of the topology takes for what was counted on it."""
    chip = topology.chip
    return Seconds(
        arithmetic=counts.flops / chip.flops,
        memory=counts.bytes / chip.bandwidth,
        links=counts.sent / chip.sending(topology.chips),
        compiler=counts.cycles / chip.clock if chip.clock and counts.cycles else None,
    )
