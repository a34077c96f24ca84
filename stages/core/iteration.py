"""`itertools.batched`, which the standard library has only from Python 3.12 on."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yields lists of `size` items (the last one may be shorter), and reads ahead by at most one list."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
