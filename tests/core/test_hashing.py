"""Hashes of files and code: they change with every change, and do not depend on the current folder."""

import shutil
from pathlib import Path

import pytest

from stages import finetune
from stages.core.errors import UserError
from stages.core.hashing import PACKAGE, code_of, hash_of, sha256_of


def test_a_known_hash(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_hash_depends_on_name_content_and_facts(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"1")
    other.write_bytes(b"1")
    hashes = [hash_of([one], "a"), hash_of([other], "a"), hash_of([one], "b"), hash_of([one, other], "a")]
    one.write_bytes(b"2")
    hashes.append(hash_of([one], "a"))
    assert len(set(hashes)) == 5 and {len(digits) for digits in hashes} == {20}


def test_code_does_not_depend_on_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = code_of("lm/nn", "lm/io")
    monkeypatch.chdir(tmp_path)
    assert code_of("lm/nn", "lm/io") == here
    assert {path.parent for path in here} == {PACKAGE / "lm/nn", PACKAGE / "lm/io"}


def test_a_folder_without_code_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lm/nn").mkdir(parents=True)
    monkeypatch.setattr("stages.core.hashing.PACKAGE", tmp_path)
    with pytest.raises(UserError, match=r"lm/nn has no Python files"):
        code_of("lm/nn")


def test_only_changes_of_training_code_restart_a_fine_tuning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(PACKAGE / "lm", tmp_path / "lm")
    monkeypatch.setattr("stages.core.hashing.PACKAGE", tmp_path)

    def key() -> str:
        return hash_of(code_of(*finetune.ROOMS), None)

    before = key()
    for elsewhere in ("lm/gguf/reader.py", "lm/scoring/forward.py", "lm/generation/greedy.py"):
        (tmp_path / elsewhere).write_text("changed\n", encoding="utf-8")
    assert key() == before
    (tmp_path / "lm/training/optimizer.py").write_text("changed\n", encoding="utf-8")
    assert key() != before
