"""Fetching the files of a source, from a local hub with pins, where each fault is one line, and from a folder."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.core.errors import UserError
from stages.fetch import repositories
from stages.fetch.fetch import fetch
from stages.fetch.hub_pins import HubPin, record
from stages.sources.locations import RepoFiles, split_of
from tests.helpers.loopback_hub import COMMIT, CONVERTED, TOKEN, Hub, served
from tests.helpers.refusals import refusal_of

TOYS = split_of("toys", "acme/toys", "wood", "train")
ONE, TWO = "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"
FILES = {f"wood/{ONE}": b"one" * 9_000, f"wood/{TWO}": b"two"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the toys, and an empty project that reads from it."""
    monkeypatch.chdir(tmp_path)
    Path("pins.yaml").write_text("# Kept.\narchives: {}\nhub: {}\n", encoding="utf-8")
    with served(monkeypatch, tmp_path / "home") as hub:
        hub.put("acme/toys", {**FILES, "wood/test-00000-of-00001.parquet": b"no", "README.md": b"# Toys"})
        yield hub


def pin(**sums: str) -> None:
    files = {path: sums.get(path, hashlib.sha256(content).hexdigest()) for path, content in FILES.items()}
    record("toys", HubPin("acme/toys", COMMIT, files))


def refusal(source: RepoFiles = TOYS, hub: str = "") -> str:
    return refusal_of(lambda: fetch(source, hub))


def test_pinned_files_are_fetched_once(server: Hub) -> None:
    pin()
    fetched = fetch(TOYS, "")
    assert fetched.revision == COMMIT
    assert {path: local.read_bytes() for path, local in fetched.files.items()} == FILES
    assert len(server.asked) == 2
    assert fetch(TOYS, "") == fetched
    assert len(server.asked) == 2


def test_a_source_without_a_pin_is_refused_without_a_request(server: Hub) -> None:
    assert refusal() == (
        "toys: acme/toys is not pinned in pins.yaml; run `candor pin toys` to record its revision and hashes, or set "
        "hub in params.yaml to a folder in the hub's layout"
    )
    assert server.requests == []


def test_a_changed_source_is_refused_and_leaves_nothing(server: Hub, tmp_path: Path) -> None:
    pin(**{"wood/train-00001-of-00002.parquet": "0" * 64})
    assert refusal().startswith("toys: wood/train-00001-of-00002.parquet of acme/toys has the SHA-256 sum ")
    assert "the source changed or the file was cut short" in refusal()
    files = [path.name for path in (tmp_path / "home").rglob("*") if path.is_file() and path.name != "lock"]
    assert files == ["train-00000-of-00002.parquet"]  # the right file stays


def test_a_file_that_was_damaged_later_is_fetched_again(server: Hub) -> None:
    pin()
    path = fetch(TOYS, "").paths[1]
    path.write_bytes(b"tw")
    assert fetch(TOYS, "").paths[1].read_bytes() == b"two"


def test_a_download_that_breaks_off_is_resumed(server: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    pin()
    server.cuts[ONE] = [10_000, 5_000]
    assert fetch(TOYS, "").paths[0].read_bytes() == FILES["wood/train-00000-of-00002.parquet"]
    assert server.asked == [(ONE, None), (ONE, "bytes=10000-"), (ONE, "bytes=15000-"), (TWO, None)]
    assert "trying again in 1 s" in capsys.readouterr().err


def test_a_later_call_resumes_a_failed_download(server: Hub) -> None:
    pin()
    server.cuts[ONE] = [10_000, 5_000, 0, 0]
    refusal()
    assert fetch(TOYS, "").paths[0].read_bytes() == FILES["wood/train-00000-of-00002.parquet"]
    assert server.asked[3:] == [(ONE, "bytes=15000-"), (ONE, "bytes=15000-"), (TWO, None)]


@pytest.mark.parametrize("fault", ["cuts", "statuses"])
def test_a_network_that_does_not_work_is_one_line(server: Hub, fault: str) -> None:
    pin()
    server.cuts[ONE], server.statuses = ([0] * 4, []) if fault == "cuts" else ([], [503] * 4)
    line = refusal()
    assert line.startswith("toys: acme/toys could not be fetched (")
    assert line.endswith(
        "run this again when the network is back (the download resumes), or set hub in params.yaml to a folder in the "
        "hub's layout"
    )


def test_a_gated_repository_needs_a_login(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    pin()
    server.gated = {"acme/toys"}
    assert refusal() == (
        f"toys: acme/toys is gated: accept its terms at {server.address}/datasets/acme/toys and log in with "
        "`hf auth login`, or set HF_TOKEN"
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert len(fetch(TOYS, "").files) == 2


def test_a_repository_that_does_not_exist_is_one_line(server: Hub) -> None:
    pin()
    del server.repositories["acme/toys"]
    assert refusal() == (
        f"toys: {server.address} has no data set acme/toys; it was renamed or removed, or, if it is private, log in "
        "with `hf auth login`, or set HF_TOKEN"
    )


def test_a_file_that_is_gone_is_one_line(server: Hub) -> None:
    pin()
    server.put("acme/toys", {}, commit=COMMIT)
    assert refusal() == (
        f"toys: there is no {server.address}/datasets/acme/toys/resolve/{COMMIT}/wood/{ONE}; `candor pin` looks up the "
        "present files of acme/toys"
    )


def test_a_folder_needs_no_pin_and_its_hash_is_the_revision(tmp_path: Path) -> None:
    folder = tmp_path / "acme" / "toys" / "wood"
    folder.mkdir(parents=True)
    for path in ("train-00001-of-00002.parquet", "train-00000-of-00002.parquet", "test-00000-of-00001.parquet"):
        (folder / path).write_bytes(path.encode())
    fetched = fetch(TOYS, str(tmp_path))
    assert list(fetched.files) == list(FILES)
    assert fetched.revision.startswith("sha256:")
    (folder / "train-00000-of-00002.parquet").write_bytes(b"changed")
    assert fetch(TOYS, str(tmp_path)).revision != fetched.revision


def test_a_folder_without_the_files_is_one_line(tmp_path: Path) -> None:
    assert refusal(hub=str(tmp_path)) == (
        f"toys: {tmp_path}/acme/toys has no wood/train-*.parquet or wood/train/*.parquet; put the files there, or "
        "set hub to '' in params.yaml"
    )
    assert refusal(hub=str(tmp_path / "none")).startswith(f"params.yaml: hub is {tmp_path}/none, which is not a folder")


@pytest.mark.parametrize(
    ("config", "paths", "matching"),
    [
        ("", ["data/train-0.parquet", "data/test-0.parquet"], ["data/train-0.parquet"]),
        ("", ["train.parquet", "test.parquet"], ["train.parquet"]),
        ("", ["default/train/0001.parquet", "default/train/0000.parquet"], None),
        ("wood", ["wood/train-1.parquet", "wood/train-0.parquet", "wood/train_2-0.parquet"], None),
        ("wood", ["wood/train/0000.parquet", "tin/train/0000.parquet"], ["wood/train/0000.parquet"]),
        ("wood", ["tin/train-0.parquet", "toys.py"], []),
    ],
)
def test_the_layouts_of_a_split(config: str, paths: list[str], matching: list[str] | None) -> None:
    expected = sorted(paths)[:2] if matching is None else matching
    assert split_of("toys", "acme/toys", config, "train").matching(paths) == expected


def test_a_repository_with_a_loading_script_is_listed_on_its_converted_branch(server: Hub) -> None:
    server.put("acme/toys", {"toys.py": b"print()"})
    server.put("acme/toys", {"wood/train/0000.parquet": b"rows"}, branch="refs/convert/parquet", commit=CONVERTED)
    assert repositories.listing(TOYS) == (
        CONVERTED,
        {"wood/train/0000.parquet": hashlib.sha256(b"rows").hexdigest()},
    )


def test_a_repository_without_such_files_is_one_line(server: Hub) -> None:
    server.put("acme/toys", {"toys.csv": b""})
    with pytest.raises(UserError, match=r"^toys: acme/toys has no wood/train-\*\.parquet or wood/train/\*\.parquet"):
        repositories.listing(TOYS)


PROMPTS = RepoFiles("prompts", "acme/toys", ("prompts/*.txt",), host="github")


@pytest.fixture
def github(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """A server that answers like GitHub, with two prompts."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(repositories, "_GITHUB_LISTS", f"{server.address}/lists")
    monkeypatch.setattr(repositories, "_GITHUB_FILES", f"{server.address}/files")
    tree = {"tree": [{"path": "prompts/b.txt"}, {"path": "prompts/a.txt"}, {"path": "README.md"}]}
    server.pages = {
        "/lists/acme/toys/commits/HEAD": json.dumps({"sha": COMMIT}).encode(),
        f"/lists/acme/toys/git/trees/{COMMIT}?recursive=1": json.dumps(tree).encode(),
        f"/files/acme/toys/{COMMIT}/prompts/a.txt": b"A prompt.",
    }
    return server


def test_a_repository_on_github_is_listed_and_read_without_a_login(github: Hub, tmp_path: Path) -> None:
    assert repositories.listing(PROMPTS) == (COMMIT, {"prompts/a.txt": None, "prompts/b.txt": None})
    repositories.receive(PROMPTS, COMMIT, "prompts/a.txt", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"A prompt."
    assert github.logins == [None] * 3


def test_requests_to_github_are_retried_and_then_fail(github: Hub, tmp_path: Path) -> None:
    github.statuses = [503, 429]
    repositories.receive(PROMPTS, COMMIT, "prompts/a.txt", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_bytes() == b"A prompt." and len(github.requests) == 3
    github.statuses = [503] * 4
    with pytest.raises(UserError, match=r"^prompts: acme/toys could not be fetched \(status 503 from 127\.0\.0\.1\); "):
        repositories.receive(PROMPTS, COMMIT, "prompts/b.txt", tmp_path / "b.txt")


def test_a_file_that_is_gone_from_github_is_one_line(github: Hub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^prompts: there is no \S+/b\.txt \(status 401\); `candor pin` looks up"):
        repositories.receive(PROMPTS, COMMIT, "prompts/b.txt", tmp_path / "b.txt")
