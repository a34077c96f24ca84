"""`candor pin`: records the pin of a source on a local test hub, which `collect` then reads."""

import hashlib
import json
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import polars as pl
import pytest

from stages import collect
from stages.core.errors import run
from stages.fetch import repositories
from stages.fetch.hub_pins import hub_pin
from stages.tables.parquet import read_table
from stages.tables.schemas import EXAMPLES_RAW
from tests.helpers.command import Candor
from tests.helpers.loopback_hub import COMMIT, Hub, served

ROWS = pl.DataFrame({"sentence": ["so good", 'so "bad"\n'], "label": [1, 0], "idx": [0, 1]})
FILE = "data/train-00000-of-00001.parquet"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.chdir(tmp_path)
    Path("pins.yaml").write_text("archives: {}\n", encoding="utf-8")
    Path("params.yaml").write_text('hub: ""\n', encoding="utf-8")
    with served(monkeypatch, tmp_path / "home") as hub:
        yield hub


def parquet(table: pl.DataFrame) -> bytes:
    content = BytesIO()
    table.write_parquet(content)
    return content.getvalue()


def test_a_source_is_pinned_and_then_collected(server: Hub, candor: Candor) -> None:
    content = parquet(ROWS)
    server.put("stanfordnlp/sst2", {FILE: content, "data/test-00000-of-00001.parquet": b"", "README.md": b""})
    outcome = candor("pin", "sst2")
    assert outcome == (0, f"sst2: stanfordnlp/sst2 at {COMMIT}, 1 file(s)\n", "")
    assert server.asked == [], "the hub tells the sums of large files"
    pinned = hub_pin("sst2", "stanfordnlp/sst2")
    assert (pinned.revision, pinned.files) == (COMMIT, {FILE: hashlib.sha256(content).hexdigest()})

    collect.main("sst2", Path("data/raw/sst2.parquet"))
    table = read_table(Path("data/raw/sst2.parquet"), EXAMPLES_RAW)
    assert table.select("example", "text", "label", "source", "revision", "split", "row", "licence").rows() == [
        ("sst2:0", '"so good"', 1, "stanfordnlp/sst2", COMMIT, "train", 0, "NOASSERTION"),
        ("sst2:1", '"so bad"', 0, "stanfordnlp/sst2", COMMIT, "train", 1, "NOASSERTION"),
    ]


def test_a_source_that_changed_is_refused_until_it_is_pinned_again(
    server: Hub,
    candor: Candor,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.put("stanfordnlp/sst2", {FILE: parquet(ROWS)})
    candor("pin", "sst2")
    server.put(
        "stanfordnlp/sst2", {FILE: parquet(ROWS.reverse())}
    )  # the same commit with other content: tampered with in transit
    monkeypatch.setattr(sys, "argv", ["collect", "sst2", "out.parquet"])
    with pytest.raises(SystemExit):
        run(collect.main)
    fetching, error = capsys.readouterr().err.splitlines()
    assert fetching.startswith("fetching stanfordnlp/sst2, train-00000-of-00001.parquet: ")
    assert error.startswith(f"error: sst2: {FILE} of stanfordnlp/sst2 has the SHA-256 sum ")
    assert not Path("out.parquet").exists()
    candor("pin", "sst2")
    collect.main("sst2", Path("out.parquet"))


def test_a_suite_s_sources_are_pinned_together(server: Hub, candor: Candor) -> None:
    server.put("cais/mmlu", {"all/dev-00000-of-00001.parquet": b"dev", "all/test-00000-of-00001.parquet": b"test"})
    assert candor("pin", "mmlu_5shot").status == 0
    assert [list(hub_pin(name, "cais/mmlu").files) for name in ("mmlu_dev", "mmlu_test")] == [
        ["all/dev-00000-of-00001.parquet"],
        ["all/test-00000-of-00001.parquet"],
    ]


def test_files_without_published_sums_are_downloaded(
    server: Hub, candor: Candor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "_GITHUB_LISTS", f"{server.address}/lists")
    monkeypatch.setattr(repositories, "_GITHUB_FILES", f"{server.address}/files")
    repository = "suzgunmirac/BIG-Bench-Hard"
    server.pages = {
        f"/lists/{repository}/commits/HEAD": json.dumps({"sha": COMMIT}).encode(),
        f"/lists/{repository}/git/trees/{COMMIT}?recursive=1": b'{"tree": [{"path": "cot-prompts/navigate.txt"}]}',
        f"/files/{repository}/{COMMIT}/cot-prompts/navigate.txt": b"A prompt.",
    }
    assert candor("pin", "bbh_prompts").status == 0
    sums = {"cot-prompts/navigate.txt": hashlib.sha256(b"A prompt.").hexdigest()}
    assert hub_pin("bbh_prompts", repository).files == sums


@pytest.mark.parametrize("name", ["sst9", "multiemo", "addition"])
def test_a_source_that_is_not_on_the_hub_is_one_line(server: Hub, candor: Candor, name: str) -> None:
    outcome = candor("pin", name)
    assert outcome.status == 1
    assert outcome.err.startswith(f"error: {name!r} is not a source on the hub; those are sst2, ")
    assert server.requests == []
