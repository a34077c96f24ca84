"""The Hugging Face hub: lists the files of a repository at a commit, and downloads one of them.

The endpoint and the login are those of all Hugging Face tools: `HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from stages.core.errors import UserError
from stages.fetch.http import BACKOFF_SECONDS, first_line, retry
from stages.fetch.http import receive as receive_file

Kind = Literal["model", "dataset"]

# What a user without a network can do instead.
_ALTERNATIVE = {
    "model": "name a folder of your own that contains the model",
    "dataset": "set hub in params.yaml to a folder in the hub's layout",
}
_NOT_FOUND = {
    "model": "no model {id}, and there is no such folder here; correct its name",
    "dataset": "no data set {id}; it was renamed or removed",
}
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"

T = TypeVar("T")


class NoRevision(UserError):
    """The repository has no commit, tag or branch of that name."""


@dataclass(frozen=True)
class Snapshot:
    """A repository at one commit; `id` is its name on the hub, `kind` whether it holds a model or a data set."""

    id: str
    kind: Kind
    commit: str


@dataclass(frozen=True)
class Listing(Snapshot):
    """A snapshot with its licence, and with the hub's metadata of each file, by path."""

    licence: str
    files: Mapping[str, Any]

    def sha256(self, path: str) -> str | None:
        """The SHA-256 sum of a large file; for small ones the hub has none."""
        lfs = self.files[path].lfs
        return None if lfs is None else str(lfs.sha256)


def find(repository: str, kind: Kind, revision: str | None) -> Listing:
    """Looks up the repository at a commit, tag or branch; without one, at the newest commit of its main branch.

    Raises:
        NoRevision: the repository has no such revision.
        UserError: there is no such repository, or the hub does not answer.
    """
    from huggingface_hub import HfApi  # takes half a second to import

    def request() -> Any:
        return HfApi().repo_info(repository, repo_type=kind, revision=revision, files_metadata=True)

    info = _call_hub(Snapshot(repository, kind, str(revision)), request)
    licence = str((info.card_data or {}).get("license") or "other")
    return Listing(repository, kind, info.sha, licence, {file.rfilename: file for file in info.siblings or []})


def receive(snapshot: Snapshot, path: str, part: Path, size: int | None = None) -> None:
    """Downloads a file of the repository to `part`, continuing an existing part; `size` is its size, if known.

    Raises:
        UserError: there is no such file, the repository is gated, or the hub does not answer.
    """
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    url = hf_hub_url(snapshot.id, path, repo_type=snapshot.kind, revision=snapshot.commit)

    def open_response(headers: Mapping[str, str]) -> Any:
        return get_session().stream("GET", url, headers={**build_hf_headers(), **headers}, follow_redirects=True)

    name = path.rpartition("/")[2]
    _call_hub(snapshot, lambda: receive_file(open_response, hf_raise_for_status, part, f"{snapshot.id}, {name}", size))


def _call_hub(snapshot: Snapshot, call: Callable[[], T]) -> T:
    """The result of `call`, retried while the network or the hub fails; other failures become a UserError."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return retry(call, _is_transient, snapshot.id, BACKOFF_SECONDS)
    except OfflineModeIsEnabled:
        raise UserError(f"{snapshot.id} is on the hub, but HF_HUB_OFFLINE forbids to use it; unset it") from None
    except (httpx2.TransportError, HfHubHTTPError) as error:
        if not _is_transient(error):
            raise _as_user_error(snapshot, error) from None
        raise UserError(
            f"{snapshot.id} could not be fetched ({first_line(error)}); run this again when the network is back (the "
            f"download resumes), or {_ALTERNATIVE[snapshot.kind]}"
        ) from None


def _is_transient(error: Exception) -> bool:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code in (408, 429)
    return isinstance(error, httpx2.TransportError)


def _as_user_error(snapshot: Snapshot, error: Exception) -> UserError:
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
        not_found = _NOT_FOUND[snapshot.kind].format(id=snapshot.id)
        return UserError(f"{constants.ENDPOINT} has {not_found}, or, if it is private, {_LOGIN}")
    if isinstance(error, RevisionNotFoundError):
        return NoRevision(
            f"{snapshot.id} has no revision {snapshot.commit!r}; name one of its commits, tags or branches"
        )
    if isinstance(error, EntryNotFoundError) and isinstance(error, HfHubHTTPError):
        return UserError(f"there is no {error.response.url}; `candor pin` looks up the present files of {snapshot.id}")
    return UserError(f"{snapshot.id} could not be fetched: {first_line(error)}")
