"""Downloads the files of a model folder from the hub, and checks each against the size and hash that the hub lists."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from stages.core.errors import UserError
from stages.core.hashing import sha256_of
from stages.core.scratch import disk_full_as_user_error, one_at_a_time, scratch_dir
from stages.fetch import hub
from stages.lm.io.hf_folder import CONFIG, SMALL_FILES, TOKENIZER, WEIGHTS, WEIGHTS_INDEX
from stages.lm.io.safetensors_read import weight_files


def receive(listing: hub.Listing) -> Path:
    """Downloads a repository's config, tokenizer and safetensors files to a folder under `.candor/downloads`.

    A later call resumes an interrupted download.

    Raises:
        UserError: a file is missing on the hub, cannot be downloaded, or is not what the hub says.
    """
    folder = _download_folder(listing)
    _refuse_incomplete(listing)
    with one_at_a_time(folder / "lock", f"fetching {listing.id}"), disk_full_as_user_error(folder):
        for name in (*SMALL_FILES, WEIGHTS_INDEX):
            if name in listing.files:
                _download(listing, name, folder)
        for path in weight_files(folder):
            if path.name not in listing.files:
                raise UserError(f"{listing.id}: its {WEIGHTS_INDEX} names {path.name}, which is not there")
            _download(listing, path.name, folder)
    return folder


def receive_config(listing: hub.Listing) -> Path:
    """Downloads only a repository's config.json, to the same path as `receive`.

    Raises:
        UserError: there is none, it cannot be downloaded, or it is not what the hub says.
    """
    folder = _download_folder(listing)
    if CONFIG not in listing.files:
        raise UserError(f"{listing.id} has no {CONFIG} at {listing.commit}; use another copy of it")
    with one_at_a_time(folder / "lock", f"fetching {listing.id}"), disk_full_as_user_error(folder):
        _download(listing, CONFIG, folder)
    return folder / CONFIG


def forget(folder: Path) -> None:
    """Deletes a folder that `receive` returned, after its files were copied or moved."""
    shutil.rmtree(folder, ignore_errors=True)


def _download_folder(listing: hub.Listing) -> Path:
    return scratch_dir() / "downloads" / "models" / listing.id.replace("/", "--") / listing.commit


def _refuse_incomplete(listing: hub.Listing) -> None:
    names = listing.files.keys()
    missing = [name for name in (CONFIG, TOKENIZER) if name not in names]
    if missing:
        raise UserError(f"{listing.id} has no {' and no '.join(missing)} at {listing.commit}; use another copy of it")
    if not names & {WEIGHTS, WEIGHTS_INDEX}:
        raise UserError(
            f"{listing.id} has no safetensors weights at {listing.commit}; pickled weights are never loaded, and .gguf "
            "files must be local: use another repository, or the path of a local copy"
        )


def _download(listing: hub.Listing, name: str, folder: Path) -> None:
    target, entry = folder / name, listing.files[name]
    part = folder / f"{name}.part"
    if target.exists():
        return
    hub.receive(listing, name, part, entry.size)
    problem = _mismatch(part, entry)
    if problem:
        part.unlink()
        raise UserError(
            f"{listing.id}: {name} is not what the hub says ({problem}); it was removed, "
            "run the command again to fetch it"
        )
    part.replace(target)


def _mismatch(part: Path, entry: Any) -> str:
    size = part.stat().st_size
    if size != entry.size:
        return f"its size is {size:,} bytes, expected {entry.size:,}"
    if entry.lfs is not None:
        actual, expected = sha256_of(part), entry.lfs.sha256
    else:
        # For small files, the hub lists the git blob hash.
        actual, expected = hashlib.sha1(b"blob %d\0" % size + part.read_bytes()).hexdigest(), entry.blob_id
    return "" if actual == expected else f"its hash is {actual}, expected {expected}"
