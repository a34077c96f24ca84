"""Models from the Hugging Face hub: the files of a repository at one commit, received, resumed and checked.

Where the hub is, and who asks it, is set as for all of the hub's tools: `HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`.
"""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.lm.folder import CONFIG, SMALL_FILES, TOKENIZER, WEIGHTS, WEIGHTS_INDEX
from stages.lm.tensors import weight_files
from stages.project.downloads import BACKOFF_SECONDS, MEGABYTE, full_disk_named, one_at_a_time
from stages.project.errors import UserError
from stages.project.pins import sha256_of
from stages.project.progress import progress
from stages.project.scratch import home


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

    found = _retried(repository, revision, ask)
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
    _retried(repository.id, repository.commit, lambda: _continue(repository, name, part))
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

    done, size = part.stat().st_size if part.exists() else 0, repository.files[name].size
    if done >= size > 0:
        return
    url = hf_hub_url(repository.id, name, revision=repository.commit)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
        hf_raise_for_status(response)
        if response.status_code != 206:  # a server without ranges sends the file from its start
            done = 0
        with part.open("ab" if done else "wb") as file:
            with progress(f"fetching {name}", (size - done) / MEGABYTE, "MB") as advance:
                for chunk in response.iter_raw():
                    file.write(chunk)
                    advance(len(chunk) / MEGABYTE)
            file.flush()
            os.fsync(file.fileno())


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


def _retried(repository: str, revision: str | None, call: Callable[[], Any]) -> Any:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    waits = iter(BACKOFF_SECONDS)
    while True:
        try:
            return call()
        except OfflineModeIsEnabled:
            raise UserError(f"{repository} is on the hub, and HF_HUB_OFFLINE forbids to ask it; unset that") from None
        except (httpx2.TransportError, HfHubHTTPError) as error:
            seconds = next(waits, None)
            if isinstance(error, HfHubHTTPError) and not _passes(error):
                raise _refusal(repository, revision, error) from None
            if seconds is None:
                raise UserError(
                    f"{repository} could not be fetched ({_first_line(error)}); repeat when the network is back, it "
                    "goes on where it was, or name a folder of your own that holds the model"
                ) from None
            print(f"{repository}: {_first_line(error)}; trying again in {seconds:g} s", file=sys.stderr, flush=True)
            time.sleep(seconds)


def _passes(error: Any) -> bool:
    status = error.response.status_code
    return status >= 500 or status in (408, 429)


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
    return UserError(f"{repository} could not be fetched: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
