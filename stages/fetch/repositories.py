"""Files of a source from where they lie, the Hugging Face hub or GitHub: which they are now, and one of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stages.core.errors import UserError
from stages.fetch import hub
from stages.fetch.http import BACKOFF_SECONDS, first_line, retried
from stages.fetch.http import receive as receive_file
from stages.sources.locations import RepoFiles

# Repositories that were a script keep their rows as parquet on the second branch; the hub no longer runs scripts.
BRANCHES = ("main", "refs/convert/parquet")

_GITHUB_FILES = "https://raw.githubusercontent.com"
_GITHUB_LISTS = "https://api.github.com/repos"

T = TypeVar("T")
# The SHA-256 sum of each file by its path, where that is told.
Sums = Mapping[str, str | None]


class Passing(Exception):
    """An answer that may be another a little later."""


def listing(wanted: RepoFiles) -> tuple[str, Sums]:
    """The newest revision that holds the files, and which they are in it.

    Raises:
        UserError: there is no such repository, it may not be read, or it has no such files.
    """
    with _named(wanted):
        revision, sums = _on_github(wanted) if wanted.at == "github" else _on_hub(wanted)
        if not sums:
            raise UserError(f"{wanted.repository} holds no {' or '.join(wanted.layouts)}; its layout has changed")
    return revision, sums


def receive(wanted: RepoFiles, revision: str, path: str, local: Path) -> None:
    """Writes one file of the repository, as it is at `revision`, to `local`; goes on with what lies there.

    Raises:
        UserError: there is no such file, it may not be read, or the network stays away.
    """
    with _named(wanted):
        if wanted.at == "github":
            address = f"{_GITHUB_FILES}/{wanted.repository}/{revision}/{path}"
            _asked(wanted, lambda client: _received(client, address, local))
        else:
            hub.receive(hub.Snapshot(wanted.repository, "dataset", revision), path, local)


@contextmanager
def _named(wanted: RepoFiles) -> Iterator[None]:
    """Puts the source's name before the message of a problem."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{wanted.name}: {error}") from None


def _on_hub(wanted: RepoFiles) -> tuple[str, Sums]:
    for branch in BRANCHES:
        try:
            found = hub.find(wanted.repository, "dataset", branch)
        except hub.NoRevision:  # no script, so no such branch
            continue
        if meant := wanted.matching(list(found.files)):
            return found.commit, {path: found.sha256(path) for path in meant}
    return "", {}


def _on_github(wanted: RepoFiles) -> tuple[str, Sums]:
    lists = f"{_GITHUB_LISTS}/{wanted.repository}"
    commit = _asked(wanted, partial(_json, address=f"{lists}/commits/HEAD"))["sha"]
    tree = _asked(wanted, partial(_json, address=f"{lists}/git/trees/{commit}?recursive=1"))["tree"]
    return commit, dict.fromkeys(wanted.matching([entry["path"] for entry in tree]))


def _asked(wanted: RepoFiles, transfer: Callable[[Any], T]) -> T:
    import httpx2  # takes half a second to import, which those need not wait for who have the files

    passing = (httpx2.TransportError, Passing)
    with httpx2.Client(follow_redirects=True, timeout=30.0) as client:
        try:
            return retried(
                partial(transfer, client), lambda error: isinstance(error, passing), wanted.name, BACKOFF_SECONDS
            )
        except passing as error:
            raise UserError(
                f"{wanted.repository} could not be fetched ({first_line(error)}); repeat when the network is back, it "
                "goes on where it was, or set hub in params.yaml to a folder in the hub's layout"
            ) from None


def _json(client: Any, address: str) -> Any:
    response = client.get(address)
    _refuse(response)
    return response.json()


def _received(client: Any, address: str, local: Path) -> None:
    name = address.rpartition("/")[2]
    receive_file(lambda headers: client.stream("GET", address, headers=headers), _refuse, local, name, None)


def _refuse(response: Any) -> None:
    status = response.status_code
    if status in (408, 429) or status >= 500:
        raise Passing(f"status {status} from {response.url.host}")
    if status >= 400:
        raise UserError(f"there is no {response.url} (status {status}); `candor pin` learns where it lies now")
