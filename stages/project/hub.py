"""Models from the Hugging Face hub: the files of a repository at one commit, received, resumed and checked.

Where the hub is, and who asks it, is set as for all of the hub's tools: `HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lm.folder import CONFIG, SMALL_FILES, TOKENIZER, WEIGHTS, WEIGHTS_INDEX
from stages.lm.tensors import weight_files
from stages.project.errors import UserError
from stages.project.pins import sha256_of
from stages.project.receiving import BACKOFF_SECONDS, first_line, retried
from stages.project.receiving import receive as receive_file
from stages.project.scratch import full_disk_named, home, one_at_a_time


@dataclass(frozen=True)
class Repository:
    """A repository at one commit: its id, the commit, its licence, and what the hub says of its files."""

    id: str
    commit: str
    licence: str
    files: dict[str, Any]


def find(repository: str, revision: str | None) -> Repository:
    """The repository at a commit, tag or branch; without one, at the newest commit of its main branch.

    Raises:
        UserError: there is no such repository or revision, it is gated, or the hub does not answer.
    """
    from huggingface_hub import HfApi  # takes half a second to import

    def ask() -> Any:
        return HfApi().model_info(repository, revision=revision, files_metadata=True)

    found = _asked(repository, revision, ask)
    licence = str((found.card_data or {}).get("license") or "other")
    return Repository(repository, found.sha, licence, {file.rfilename: file for file in found.siblings or []})


def receive(repository: Repository) -> Path:
    """The model folder of a repository's config, tokenizer and safetensors files, kept under `.candor/downloads`.

    A later call goes on where one was cut off. Each file has the size and the hash that the hub names.

    Raises:
        UserError: a file is missing there, cannot be received, or is not what the hub says.
    """
    folder = home() / "downloads" / "models" / repository.id.replace("/", "--") / repository.commit
    _refuse_incomplete(repository)
    with one_at_a_time(folder / "lock", f"fetching {repository.id}"), full_disk_named(folder):
        for name in (*SMALL_FILES, WEIGHTS_INDEX):
            if name in repository.files:
                _receive(repository, name, folder)
        for path in weight_files(folder):
            if path.name not in repository.files:
                raise UserError(f"{repository.id}: its {WEIGHTS_INDEX} names {path.name}, which is not there")
            _receive(repository, path.name, folder)
    return folder


def forget(folder: Path) -> None:
    """Removes what `receive` kept, once it stands elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)


def _refuse_incomplete(repository: Repository) -> None:
    names = repository.files.keys()
    missing = [name for name in (CONFIG, TOKENIZER) if name not in names]
    if missing:
        raise UserError(
            f"{repository.id} has no {' and no '.join(missing)} at {repository.commit}; use another copy of it"
        )
    if not names & {WEIGHTS, WEIGHTS_INDEX}:
        raise UserError(
            f"{repository.id} has no safetensors weights at {repository.commit}; pickled ones are never opened, and of "
            ".gguf files a local copy is read: name another copy of the model, or its path"
        )


def _receive(repository: Repository, name: str, folder: Path) -> None:
    target, entry = folder / name, repository.files[name]
    part = folder / f"{name}.part"
    if target.exists():
        return
    _asked(repository.id, repository.commit, lambda: _continue(repository, name, part))
    problem = _mismatch(part, entry)
    if problem:
        part.unlink()
        raise UserError(
            f"{repository.id}: {name} is not what the hub says ({problem}); it was removed, repeat to fetch it anew"
        )
    part.replace(target)


def _continue(repository: Repository, name: str, part: Path) -> None:
    """Receives what `part` lacks."""
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    size = repository.files[name].size
    url = hf_hub_url(repository.id, name, revision=repository.commit)

    def opened(headers: Mapping[str, str]) -> Any:
        return get_session().stream("GET", url, headers={**build_hf_headers(), **headers}, follow_redirects=True)

    receive_file(opened, hf_raise_for_status, part, name, size)


def _mismatch(part: Path, entry: Any) -> str:
    size = part.stat().st_size
    if size != entry.size:
        return f"its size is {size:,} bytes, expected {entry.size:,}"
    if entry.lfs is not None:
        found, expected = sha256_of(part), entry.lfs.sha256
    else:
        # Small files have the hash that git gives them.
        found, expected = hashlib.sha1(b"blob %d\0" % size + part.read_bytes()).hexdigest(), entry.blob_id
    return "" if found == expected else f"its hash is {found}, expected {expected}"


def _asked(repository: str, revision: str | None, call: Callable[[], Any]) -> Any:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        return retried(call, _passes, repository, BACKOFF_SECONDS)
    except OfflineModeIsEnabled:
        raise UserError(f"{repository} is on the hub, and HF_HUB_OFFLINE forbids to ask it; unset that") from None
    except (httpx2.TransportError, HfHubHTTPError) as error:
        if not _passes(error):
            raise _refusal(repository, revision, error) from None
        raise UserError(
            f"{repository} could not be fetched ({first_line(error)}); repeat when the network is back, it goes on "
            "where it was, or name a folder of your own that holds the model"
        ) from None


def _passes(error: Exception) -> bool:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code in (408, 429)
    return isinstance(error, httpx2.TransportError)


def _refusal(repository: str, revision: str | None, error: Exception) -> UserError:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    login = "log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, GatedRepoError):
        return UserError(f"{repository} is gated: accept its terms at {constants.ENDPOINT}/{repository} and {login}")
    if isinstance(error, RepositoryNotFoundError):
        return UserError(
            f"{constants.ENDPOINT} has no model {repository}, nor is there such a folder here; mend its name, or, if "
            f"it is private, {login}"
        )
    if isinstance(error, RevisionNotFoundError):
        return UserError(f"{repository} has no revision {revision!r}; name a commit, a tag or a branch that it has")
    return UserError(f"{repository} could not be fetched: {first_line(error)}")
