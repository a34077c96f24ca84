"""The plan of a run: the examples of each step, and the shape that they are packed into."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.lm.tokens.continuation import PromptCompletion
from stages.lm.training.packing import PackedShape, packed_shapes, row_length

# A step's examples, one list for each micro-batch of gradient accumulation.
Parts = list[list[PromptCompletion]]


@dataclass(frozen=True)
class TrainPlan:
    """For each step its micro-batches, and a shape that fits all of them."""

    parts: list[Parts]
    shapes: list[PackedShape]

    @property
    def largest(self) -> PackedShape:
        """The shape that needs the most memory."""
        return max(self.shapes, key=lambda shape: shape.rows)


def plan_steps(
    examples: Sequence[PromptCompletion], steps: int, batch_size: int, accumulation_steps: int, groups: int
) -> TrainPlan:
    """Step s takes `batch_size` examples from s * batch_size on, starting over at the end of the list."""
    size = batch_size // accumulation_steps
    parts = []
    for step in range(steps):
        batch = [examples[(step * batch_size + offset) % len(examples)] for offset in range(batch_size)]
        parts.append([batch[start : start + size] for start in range(0, batch_size, size)])
    return TrainPlan(parts, packed_shapes(parts, row_length(parts, groups), groups))
