"""Model cards: the lines between dashes that tell a model's licence go on to what is made of it."""

from pathlib import Path

import pytest

from stages.lm.io.hf_folder import front_matter


@pytest.mark.parametrize(
    ("card", "found"),
    [
        ("---\nlicense: mit\n---\n\n# Tiny\n---\n", "---\nlicense: mit\n---\n\n"),
        ("# Tiny\n", ""),
        ("---\nno end\n", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_what_a_card_begins_with(tmp_path: Path, card: str | None, found: str) -> None:
    if card is not None:
        (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert front_matter(tmp_path) == found
