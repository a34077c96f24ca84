"""Models from the hub: the files that a model folder needs, each with the size and the hash that the hub names."""

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


def receive(found: hub.Listing) -> Path:
    """The model folder of a repository's config, tokenizer and safetensors files, kept under `.candor/downloads`.

    A later call goes on where one was cut off.

    Raises:
        UserError: a file is missing there, cannot be received, or is not what the hub says.
    """
    folder = _folder(found)
    _refuse_incomplete(found)
    with one_at_a_time(folder / "lock", f"fetching {found.id}"), disk_full_as_user_error(folder):
        for name in (*SMALL_FILES, WEIGHTS_INDEX):
            if name in found.files:
                _receive(found, name, folder)
        for path in weight_files(folder):
            if path.name not in found.files:
                raise UserError(f"{found.id}: its {WEIGHTS_INDEX} names {path.name}, which is not there")
            _receive(found, path.name, folder)
    return folder


def receive_config(found: hub.Listing) -> Path:
    """A repository's config.json alone, where `receive` would keep it.

    Raises:
        UserError: it has none, it cannot be received, or it is not what the hub says.
    """
    folder = _folder(found)
    if CONFIG not in found.files:
        raise UserError(f"{found.id} has no {CONFIG} at {found.commit}; use another copy of it")
    with one_at_a_time(folder / "lock", f"fetching {found.id}"), disk_full_as_user_error(folder):
        _receive(found, CONFIG, folder)
    return folder / CONFIG


def forget(folder: Path) -> None:
    """Removes what `receive` kept, once it stands elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)


def _folder(found: hub.Listing) -> Path:
    return scratch_dir() / "downloads" / "models" / found.id.replace("/", "--") / found.commit


def _refuse_incomplete(found: hub.Listing) -> None:
    names = found.files.keys()
    missing = [name for name in (CONFIG, TOKENIZER) if name not in names]
    if missing:
        raise UserError(f"{found.id} has no {' and no '.join(missing)} at {found.commit}; use another copy of it")
    if not names & {WEIGHTS, WEIGHTS_INDEX}:
        raise UserError(
            f"{found.id} has no safetensors weights at {found.commit}; pickled ones are never opened, and of .gguf "
            "files a local copy is read: name another copy of the model, or its path"
        )


def _receive(found: hub.Listing, name: str, folder: Path) -> None:
    target, entry = folder / name, found.files[name]
    part = folder / f"{name}.part"
    if target.exists():
        return
    hub.receive(found, name, part, entry.size)
    problem = _mismatch(part, entry)
    if problem:
        part.unlink()
        raise UserError(
            f"{found.id}: {name} is not what the hub says ({problem}); it was removed, repeat to fetch it anew"
        )
    part.replace(target)


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
