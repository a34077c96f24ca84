"""Where the files of a source lie: in a bundled archive, or in a repository of the hub."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class ArchiveFiles:
    """Files in a bundled archive, by their names in it."""

    archive: str
    names: tuple[str, ...]

    @property
    def source(self) -> str:
        """The archive's name."""
        return self.archive


@dataclass(frozen=True)
class RepoFiles:
    """Files of one repository.

    `name` is the name of their pin. `layouts` are patterns of paths in the repository; the first one that any file
    matches says which files are meant. `at` is where the repository lives: the hub's data sets, or GitHub.
    """

    name: str
    repository: str
    layouts: tuple[str, ...]
    at: str = "hub"

    @property
    def source(self) -> str:
        """The repository's name."""
        return self.repository

    def matching(self, paths: Sequence[str]) -> list[str]:
        """Those of the paths of a repository that are meant, in order."""
        found = ([path for path in sorted(paths) if fnmatchcase(path, layout)] for layout in self.layouts)
        return next((matched for matched in found if matched), [])


Source = ArchiveFiles | RepoFiles


def split_of(name: str, repository: str, config: str, split: str) -> RepoFiles:
    """The parquet files of a split; `config` is empty where the repository has one only.

    The layouts are those that repositories have on the hub, and that of its branch refs/convert/parquet (last).
    """
    folders = (f"{config}/",) if config else ("", "data/", "plain_text/")
    layouts = [f"{folder}{split}-*.parquet" for folder in folders]
    if not config:
        layouts.append(f"{split}.parquet")
    return RepoFiles(name, repository, (*layouts, f"{config or 'default'}/{split}/*.parquet"))
