"""A source's repository on the Hugging Face hub or GitHub: lists the source's present files, and downloads one."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stages.core.errors import UserError
from stages.fetch import hub
from stages.fetch.http import BACKOFF_SECONDS, first_line, retry
from stages.fetch.http import receive as receive_file
from stages.sources.locations import RepoFiles

# Repositories with a loading script have their rows as parquet on the second branch; the hub no longer runs scripts.
BRANCHES = ("main", "refs/convert/parquet")

_GITHUB_FILES = "https://raw.githubusercontent.com"
_GITHUB_LISTS = "https://api.github.com/repos"

T = TypeVar("T")
# The SHA-256 sum of each file, by path; None where the host does not report it.
Sums = Mapping[str, str | None]


class TransientError(Exception):
    """GitHub returned an error status that may go away a little later."""


def listing(source: RepoFiles) -> tuple[str, Sums]:
    """The newest revision that has the source's files, and their sums by path.

    Raises:
        UserError: there is no such repository, it may not be read, or it has no such files.
    """
    with _prefix_errors(source):
        revision, sums = _list_on_github(source) if source.host == "github" else _list_on_hub(source)
        if not sums:
            raise UserError(f"{source.repository} has no {' or '.join(source.layouts)}; its layout has changed")
    return revision, sums


def receive(source: RepoFiles, revision: str, path: str, local: Path) -> None:
    """Downloads one file of the repository at `revision` to `local`, and continues an existing partial file.

    Raises:
        UserError: there is no such file, it may not be read, or the network does not work.
    """
    with _prefix_errors(source):
        if source.host == "github":
            url = f"{_GITHUB_FILES}/{source.repository}/{revision}/{path}"
            _call_github(source, lambda client: _download(client, url, local))
        else:
            hub.receive(hub.Snapshot(source.repository, "dataset", revision), path, local)


@contextmanager
def _prefix_errors(source: RepoFiles) -> Iterator[None]:
    """Puts the source's name before the message of a UserError."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{source.name}: {error}") from None


def _list_on_hub(source: RepoFiles) -> tuple[str, Sums]:
    for branch in BRANCHES:
        try:
            snapshot = hub.find(source.repository, "dataset", branch)
        except hub.NoRevision:  # without a loading script, there is no second branch
            continue
        if paths := source.matching(list(snapshot.files)):
            return snapshot.commit, {path: snapshot.sha256(path) for path in paths}
    return "", {}


def _list_on_github(source: RepoFiles) -> tuple[str, Sums]:
    api = f"{_GITHUB_LISTS}/{source.repository}"
    commit = _call_github(source, partial(_get_json, url=f"{api}/commits/HEAD"))["sha"]
    tree = _call_github(source, partial(_get_json, url=f"{api}/git/trees/{commit}?recursive=1"))["tree"]
    return commit, dict.fromkeys(source.matching([entry["path"] for entry in tree]))


def _call_github(source: RepoFiles, call: Callable[[Any], T]) -> T:
    """The result of `call` with an HTTP client, retried while the network or GitHub fails."""
    import httpx2  # takes half a second, and is not needed if the files are already there

    transient = (httpx2.TransportError, TransientError)
    with httpx2.Client(follow_redirects=True, timeout=30.0) as client:
        try:
            return retry(
                partial(call, client), lambda error: isinstance(error, transient), source.name, BACKOFF_SECONDS
            )
        except transient as error:
            raise UserError(
                f"{source.repository} could not be fetched ({first_line(error)}); run this again when the network is "
                "back (the download resumes), or set hub in params.yaml to a folder in the hub's layout"
            ) from None


def _get_json(client: Any, url: str) -> Any:
    response = client.get(url)
    _raise_for_status(response)
    return response.json()


def _download(client: Any, url: str, local: Path) -> None:
    name = url.rpartition("/")[2]
    receive_file(lambda headers: client.stream("GET", url, headers=headers), _raise_for_status, local, name, None)


def _raise_for_status(response: Any) -> None:
    status = response.status_code
    if status in (408, 429) or status >= 500:
        raise TransientError(f"status {status} from {response.url.host}")
    if status >= 400:
        raise UserError(f"there is no {response.url} (status {status}); `candor pin` looks up the present files")
