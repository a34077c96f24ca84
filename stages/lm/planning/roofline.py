"""The roofline model: the time of a step on a chip, from its counts and the chip's peak rates."""

from dataclasses import dataclass

from stages.lm.planning.chips import Topology
from stages.lm.planning.counting import ProgramCounts


@dataclass(frozen=True)
class StepTime:
    """Seconds of one call of a program: of its arithmetic, memory traffic and collectives, each alone at peak rate.

    `compiler` is the compiler's estimate for all instructions except the collectives; None if it gives none.
    """

    arithmetic: float
    memory: float
    links: float
    compiler: float | None

    @property
    def roofline(self) -> float:
        """The lower bound: all three overlap completely, and the slowest one bounds the step."""
        return max(self.arithmetic, self.memory, self.links)

    @property
    def expected(self) -> float:
        """Computation and then the collectives, without overlap; computation by the compiler's estimate if any."""
        computation = max(self.arithmetic, self.memory) if self.compiler is None else self.compiler
        return computation + self.links


def step_time(counts: ProgramCounts, topology: Topology) -> StepTime:
    """The time of a program with these counts on each chip of the topology."""
    chip = topology.chip
    return StepTime(
        arithmetic=counts.flops / chip.flops,
        memory=counts.bytes / chip.bandwidth,
        links=counts.sent / chip.sending(topology.chips),
        compiler=counts.cycles / chip.clock if chip.clock and counts.cycles else None,
    )
