"""Transfers from the Hugging Face hub and from GitHub: what a repository holds, and one file of it.

Where the hub is, and who asks it, is set as for all of the hub's tools: `HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from stages.project.errors import UserError
from stages.project.places import HubFiles
from stages.project.receiving import BACKOFF_SECONDS, first_line, retried
from stages.project.receiving import receive as receive_file

# Repositories that were a script keep their rows as parquet on the second branch; the hub no longer runs scripts.
BRANCHES = ("main", "refs/convert/parquet")

_GITHUB_FILES = "https://raw.githubusercontent.com"
_GITHUB_LISTS = "https://api.github.com/repos"

T = TypeVar("T")


class Passing(Exception):
    """An answer that may be another a little later."""


def listing(wanted: HubFiles, backoff: Sequence[float] = BACKOFF_SECONDS) -> tuple[str, list[str]]:
    """The newest revision that holds the files, and their paths in it.

    Raises:
        UserError: there is no such repository, it may not be read, or it has no such files.
    """
    for branch in BRANCHES if wanted.at == "hub" else ("HEAD",):
        revision, paths = _asked(wanted, partial(_listed, wanted, branch), backoff)
        if meant := wanted.among(paths):
            return revision, meant
    raise UserError(
        f"{wanted.name}: {wanted.repository} holds no {' or '.join(wanted.layouts)}; its layout has changed"
    )


def receive(
    wanted: HubFiles, revision: str, path: str, local: Path, backoff: Sequence[float] = BACKOFF_SECONDS
) -> None:
    """Writes one file of the repository, as it is at `revision`, to `local`; goes on with what lies there.

    Raises:
        UserError: there is no such file, it may not be read, or the network stays away.
    """
    resolved = f"{_hub()}/datasets/{wanted.repository}/resolve"
    folder = f"{_GITHUB_FILES}/{wanted.repository}" if wanted.at == "github" else resolved
    _asked(wanted, partial(_received, wanted, f"{folder}/{revision}/{path}", local), backoff)


def _hub() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _asked(wanted: HubFiles, transfer: Callable[[Any], T], backoff: Sequence[float]) -> T:
    # Takes half a second to import, which those need not wait for who have the files.
    import httpx2

    passing = (httpx2.TransportError, Passing)
    with httpx2.Client(follow_redirects=True, timeout=30.0, headers=_login(wanted)) as client:
        try:
            return retried(partial(transfer, client), lambda error: isinstance(error, passing), wanted.name, backoff)
        except passing as error:
            raise UserError(
                f"{wanted.name}: {wanted.repository} could not be read ({first_line(error)}); repeat when the network "
                "is back (it goes on where it was), or set hub in params.yaml to a folder in the hub's layout"
            ) from None


def _listed(wanted: HubFiles, branch: str, client: Any) -> tuple[str, list[str]]:
    if wanted.at == "github":
        commit = _json(client, wanted, f"{_GITHUB_LISTS}/{wanted.repository}/commits/{branch}")["sha"]
        tree = _json(client, wanted, f"{_GITHUB_LISTS}/{wanted.repository}/git/trees/{commit}?recursive=1")["tree"]
        return commit, [entry["path"] for entry in tree]
    address = f"{_hub()}/api/datasets/{wanted.repository}/revision/{quote(branch, safe='')}"
    if branch != BRANCHES[0] and client.get(address).status_code == 404:  # no script, so no such branch
        return "", []
    found = _json(client, wanted, address)
    return found["sha"], [file["rfilename"] for file in found["siblings"]]


def _json(client: Any, wanted: HubFiles, address: str) -> Any:
    response = client.get(address)
    _refuse(wanted, address, response)
    return response.json()


def _received(wanted: HubFiles, address: str, local: Path, client: Any) -> None:
    name = address.rpartition("/")[2]
    receive_file(
        lambda headers: client.stream("GET", address, headers=headers),
        partial(_refuse, wanted, address),
        local,
        f"{wanted.name}, {name}",
        None,
    )


def _refuse(wanted: HubFiles, address: str, response: Any) -> None:
    status, said = response.status_code, response.headers.get("X-Error-Code", "")
    if status < 400:
        return
    if status in (408, 429) or status >= 500:
        raise Passing(f"status {status} from {response.url.host}")
    # The hub answers 401 for what does not exist, too, so that nobody learns the names of private repositories.
    if status in (401, 403):
        raise UserError(
            f"{wanted.name}: the hub has no {wanted.repository}, or it is gated or private (status {status}); accept "
            "its terms on its page and log in (`hf auth login`, or the variable HF_TOKEN), then repeat"
        )
    raise UserError(
        f"{wanted.name}: there is no {address} (status {status}{', ' + said if said else ''}); "
        f"`candor pin {wanted.name}` learns where {wanted.repository} has it now"
    )


def _login(wanted: HubFiles) -> dict[str, str]:
    if wanted.at != "hub":
        return {}
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}
