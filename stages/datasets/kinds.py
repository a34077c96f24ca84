"""What a data set is: its name, where its rows lie, which columns hold them, its label words and its licence.

A set of the hub and a bundled one are the same kind of thing: `files` are to be fetched, `source` and `split` are what
its rows are followed back to.
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
    splits an input into the texts that a claim quotes and the key of the cluster (the sentence or page) it belongs to.
    `read` gets the options from the file; where `some_labels` holds, rows with an option that is not in `labels` are
    no part of the set, else they are an error. `published` is how many rows the set has by its publisher, where known.
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
    """A classification set of the hub, its train split only.

    `labels` maps the hub's label names to label words in index order; a claim quotes the columns `texts` in their
    order, and rows with an equal first text are one cluster. `published` is the number of rows on the hub.
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
    """An instruction set in the bundled archive: `lead` says in one sentence what the input asks for."""

    name: str
    task: str
    lead: str
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

    The input is the texts of the columns `asked` that are not empty, a blank line between them; `target` is the column
    of the answer. Where there is a column of `options`, those follow the input, a line each.
    """

    name: str
    files: RepoFiles
    asked: tuple[str, ...]
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
