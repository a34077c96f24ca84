"""Model cards: the front matter, with the licence, that fine-tuned models inherit."""

from pathlib import Path

import pytest

from stages.lm.io.hf_folder import front_matter


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("---\nlicense: mit\n---\n\n# Tiny\n---\n", "---\nlicense: mit\n---\n\n"),
        ("# Tiny\n", ""),
        ("---\nno end\n", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_the_front_matter_of_a_card(tmp_path: Path, card: str | None, expected: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert front_matter(tmp_path) == expected
