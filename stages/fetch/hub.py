"""The Hugging Face hub: what a repository holds at a commit, and one of its files, received and resumed.

Where the hub is, and who asks it, is set as for all of the hub's tools: `HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from stages.core.errors import UserError
from stages.fetch.http import BACKOFF_SECONDS, first_line, retried
from stages.fetch.http import receive as receive_file

Kind = Literal["model", "dataset"]

# What else a user can do whose network stays away.
_INSTEAD = {
    "model": "name a folder of your own that holds the model",
    "dataset": "set hub in params.yaml to a folder in the hub's layout",
}
_UNKNOWN = {
    "model": "no model {id}, nor is there such a folder here; mend its name",
    "dataset": "no data set {id}; it was renamed or removed",
}
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"

T = TypeVar("T")


class NoRevision(UserError):
    """A repository has no commit, tag or branch of that name."""


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit: its id, and what it holds."""

    id: str
    kind: Kind
    commit: str


@dataclass(frozen=True)
class Listing(Snapshot):
    """With its licence, and what the hub says of each file, by its path."""

    licence: str
    files: Mapping[str, Any]

    def sha256(self, path: str) -> str | None:
        """The SHA-256 sum of a large file; of small ones the hub has none."""
        large = self.files[path].lfs
        return None if large is None else str(large.sha256)


def find(repository: str, kind: Kind, revision: str | None) -> Listing:
    """The repository at a commit, tag or branch; without one, at the newest commit of its main branch.

    Raises:
        NoRevision: it has no such revision.
        UserError: there is no such repository, or the hub does not answer.
    """
    from huggingface_hub import HfApi  # takes half a second to import

    def ask() -> Any:
        return HfApi().repo_info(repository, repo_type=kind, revision=revision, files_metadata=True)

    found = _asked(Snapshot(repository, kind, str(revision)), ask)
    licence = str((found.card_data or {}).get("license") or "other")
    return Listing(repository, kind, found.sha, licence, {file.rfilename: file for file in found.siblings or []})


def receive(snapshot: Snapshot, path: str, part: Path, size: int | None = None) -> None:
    """Writes a file of the repository to `part`, going on with what lies there; no more than `size` bytes of it.

    Raises:
        UserError: there is no such file, the repository is gated, or the hub does not answer.
    """
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    url = hf_hub_url(snapshot.id, path, repo_type=snapshot.kind, revision=snapshot.commit)

    def opened(headers: Mapping[str, str]) -> Any:
        return get_session().stream("GET", url, headers={**build_hf_headers(), **headers}, follow_redirects=True)

    name = path.rpartition("/")[2]
    _asked(snapshot, lambda: receive_file(opened, hf_raise_for_status, part, f"{snapshot.id}, {name}", size))


def _asked(snapshot: Snapshot, call: Callable[[], T]) -> T:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return retried(call, _passes, snapshot.id, BACKOFF_SECONDS)
    except OfflineModeIsEnabled:
        raise UserError(f"{snapshot.id} is on the hub, and HF_HUB_OFFLINE forbids to ask it; unset that") from None
    except (httpx2.TransportError, HfHubHTTPError) as error:
        if not _passes(error):
            raise _refusal(snapshot, error) from None
        raise UserError(
            f"{snapshot.id} could not be fetched ({first_line(error)}); repeat when the network is back, it goes on "
            f"where it was, or {_INSTEAD[snapshot.kind]}"
        ) from None


def _passes(error: Exception) -> bool:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code in (408, 429)
    return isinstance(error, httpx2.TransportError)


def _refusal(snapshot: Snapshot, error: Exception) -> UserError:
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        page = f"{constants.ENDPOINT}/{'datasets/' if snapshot.kind == 'dataset' else ''}{snapshot.id}"
        return UserError(f"{snapshot.id} is gated: accept its terms at {page} and {_LOGIN}")
    if isinstance(error, RepositoryNotFoundError):
        unknown = _UNKNOWN[snapshot.kind].format(id=snapshot.id)
        return UserError(f"{constants.ENDPOINT} has {unknown}, or, if it is private, {_LOGIN}")
    if isinstance(error, RevisionNotFoundError):
        return NoRevision(
            f"{snapshot.id} has no revision {snapshot.commit!r}; name a commit, a tag or a branch that it has"
        )
    if isinstance(error, EntryNotFoundError) and isinstance(error, HfHubHTTPError):
        return UserError(f"there is no {error.response.url}; `candor pin` learns where {snapshot.id} has it now")
    return UserError(f"{snapshot.id} could not be fetched: {first_line(error)}")
