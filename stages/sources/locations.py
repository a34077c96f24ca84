"""The location of a source's files: in a bundled archive, or in a repository on the hub or on GitHub."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class ArchiveFiles:
    """Files in a bundled archive, by their paths in it."""

    archive: str
    names: tuple[str, ...]

    @property
    def source(self) -> str:
        """The archive's name."""
        return self.archive


@dataclass(frozen=True)
class RepoFiles:
    """Files of one repository.

    `name` is the name of their pin. `layouts` are glob patterns of paths in the repository; the files are those that
    match the first pattern with any match. `host` is `hub` (a data set on the Hugging Face hub) or `github`.
    """

    name: str
    repository: str
    layouts: tuple[str, ...]
    host: str = "hub"

    @property
    def source(self) -> str:
        """The repository's name."""
        return self.repository

    def matching(self, paths: Sequence[str]) -> list[str]:
        """The source's files among `paths`, all paths of the repository, in order."""
        matches = ([path for path in sorted(paths) if fnmatchcase(path, layout)] for layout in self.layouts)
        return next((matched for matched in matches if matched), [])


Source = ArchiveFiles | RepoFiles


def split_of(name: str, repository: str, config: str, split: str) -> RepoFiles:
    """The parquet files of a split; `config` is empty if the repository has only one.

    The layouts are the usual ones on the hub and, last, that of its branch refs/convert/parquet.
    """
    folders = (f"{config}/",) if config else ("", "data/", "plain_text/")
    layouts = [f"{folder}{split}-*.parquet" for folder in folders]
    if not config:
        layouts.append(f"{split}.parquet")
    return RepoFiles(name, repository, (*layouts, f"{config or 'default'}/{split}/*.parquet"))
