"""The kinds of data sets, bundled or on the hub: the source of their files, their columns, label words and licence.

All kinds have `files`, which are fetched, and `source` and `split`, which become columns of their rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.sources import bigbench
from stages.sources.locations import ArchiveFiles, RepoFiles, split_of

Parsed = tuple[tuple[str, ...], str]

TRAIN = "train"


@dataclass(frozen=True)
class BundledSet:
    """A classification set in the bundled archive.

    `task` is its folder in the archive, `labels` maps the file's options to label words in index order, and `parse`
    splits an input into the texts that a claim quotes and the key of its cluster (the sentence or page it belongs to).
    `read` reads the options from the file. With `some_labels`, rows whose option is not in `labels` are left out;
    otherwise they are an error. `published` is the number of rows according to the publisher, where it is known.
    """

    name: str
    task: str
    labels: dict[str, str]
    parse: Callable[[str], Parsed]
    read: Callable[[Path], list[bigbench.Choice]] = bigbench.read_choices
    some_labels: bool = False
    licence: str = "Apache-2.0"
    published: int | None = None

    split = "default"  # BIG-bench's JSON tasks have no splits.

    @property
    def files(self) -> ArchiveFiles:
        """Its file in the archive."""
        return ArchiveFiles(bigbench.ARCHIVE, (bigbench.member(self.task),))

    @property
    def source(self) -> str:
        """`<archive>/<task>`."""
        return f"{bigbench.ARCHIVE}/{self.task}"


@dataclass(frozen=True)
class HubSet:
    """The train split of a classification set of the hub.

    `labels` maps the hub's label names to label words in index order. A claim quotes the columns `texts` in their
    order, and rows with the same first text are one cluster. `label` is the column of the label, `published` the number
    of rows on the hub.
    """

    name: str
    repository: str
    config: str
    labels: dict[str, str]
    texts: tuple[str, ...]
    published: int
    licence: str
    label: str = "label"

    split = TRAIN

    @property
    def files(self) -> RepoFiles:
        """Its train split."""
        return split_of(self.name, self.repository, self.config, self.split)

    @property
    def source(self) -> str:
        """`<repository>/<config>`."""
        return f"{self.repository}/{self.config}".rstrip("/")


@dataclass(frozen=True)
class BundledPairs:
    """An instruction set in the bundled archive; `instruction` is a sentence that precedes each input."""

    name: str
    task: str
    instruction: str
    licence: str = "Apache-2.0"

    split = "default"

    @property
    def files(self) -> ArchiveFiles:
        """Its file in the archive."""
        return ArchiveFiles(bigbench.ARCHIVE, (bigbench.member(self.task),))

    @property
    def source(self) -> str:
        """`<archive>/<task>`."""
        return f"{bigbench.ARCHIVE}/{self.task}"


@dataclass(frozen=True)
class HubPairs:
    """An instruction set of the hub.

    An input consists of the non-empty texts of the columns `inputs`, separated by blank lines; `target` is the column
    of the answer. If `options` names a column, its options follow the input, one on each line.
    """

    name: str
    files: RepoFiles
    inputs: tuple[str, ...]
    target: str
    licence: str
    options: str = ""

    split = TRAIN

    @property
    def source(self) -> str:
        """`<repository>`."""
        return self.files.repository


LabelledSet = BundledSet | HubSet
InstructionSet = BundledPairs | HubPairs
