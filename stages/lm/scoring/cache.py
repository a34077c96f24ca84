"""The answer cache: looks questions up in a store, computes the missing ones batch by batch, and stores them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from stages.core.iteration import Item
from stages.core.shared_types import Advance
from stages.lm.distributed import processes


class BatchResult(NamedTuple):
    """The results of a batch: indices into the list of items, a value for each, and a note on the speed."""

    indices: Sequence[int]
    values: Sequence[np.ndarray]
    note: str


@runtime_checkable
class KeyValueStore(Protocol):
    """Arrays of one model in one arithmetic, keyed by a hash of the question."""

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, np.ndarray]:
        """The arrays of the keys that are stored."""

    def put(self, values: Mapping[bytes, np.ndarray]) -> None:
        """Stores arrays under their keys."""


class NullStore:
    """Stores nothing."""

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, np.ndarray]:
        """Returns no arrays."""
        return {}

    def put(self, values: Mapping[bytes, np.ndarray]) -> None:
        """Does nothing."""


class AnswerCache:
    """A store in front of a computation; with several processes, all compute and the first one stores."""

    def __init__(self, store: KeyValueStore | None = None):
        self._store = store or NullStore()

    def get_or_compute(
        self,
        keys: Sequence[bytes],
        items: Sequence[Item],
        compute: Callable[[Sequence[Item]], Iterator[BatchResult]],
        advance: Advance,
    ) -> list[np.ndarray]:
        """The value of each item, in order; calls `compute` with the missing items, each distinct one once."""
        distinct = dict(zip(keys, items, strict=True))
        repeats = Counter(keys)
        values = dict(self._store.get(list(distinct)))
        # The stores of the processes may differ, but all processes must send the same batches to the devices.
        is_known = processes.broadcast_from_first(np.array([key in values for key in distinct]))
        missing = [key for key, known in zip(distinct, is_known, strict=True) if not known]
        if len(missing) < len(distinct):
            advance(len(keys) - sum(repeats[key] for key in missing), "from the cache")
        for batch in compute([distinct[key] for key in missing]):
            computed = {missing[index]: value for index, value in zip(batch.indices, batch.values, strict=True)}
            self._store.put(computed)
            values |= computed
            advance(sum(repeats[key] for key in computed), batch.note)
        return [values[key] for key in keys]
