"""Where a continuation begins and ends in the tokens of a prompt and its continuation."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, processors

from stages.core.errors import ModelError, QuestionError
from stages.lm.io.tokenizer import load_tokenizer
from stages.lm.tokens.continuation import encode_pairs
from tests.helpers.tiny_model import TinyModel


@pytest.fixture(scope="module")
def folder(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    tiny(folder=path)
    return path


@pytest.fixture
def tokenizer(folder: Path) -> Tokenizer:
    return load_tokenizer(folder)


def pieces(tokenizer: Tokenizer, prompt: str, continuation: str) -> tuple[list[str], list[str]]:
    """The tokens of the prompt, and those of the continuation."""
    [pair] = encode_pairs(tokenizer, [(prompt, continuation)])
    words = [str(tokenizer.id_to_token(index)) for index in pair.ids]
    return words[: pair.prompt_len], words[pair.prompt_len :]


@pytest.mark.parametrize(
    ("prompt", "continuation", "before", "after"),
    [
        ("it is", " (A)", ["i", "t", "Ġis"], ["Ġ(", "A", ")"]),
        ("a", "b", ["a"], ["b"]),
        # `no` is the prompt's last letter and the continuation's first.
        ("an", "o!", ["a"], ["no", "!"]),
        # A space at the prompt's end becomes part of the continuation's first token.
        ("it ", "is", ["i", "t"], ["Ġis"]),
        # Letters of several bytes: a token may be a part of one.
        ("é", "ß", ["Ã", "©"], ["Ã", "Ł"]),
        ("a", " (A) ", ["a"], ["Ġ(", "A", ")", "Ġ"]),
        ("a\n\n", "b", ["a", "Ċ", "Ċ"], ["b"]),
        ("a", "<|end|>", ["a"], ["<|end|>"]),
    ],
)
def test_where_a_continuation_begins(
    tokenizer: Tokenizer, prompt: str, continuation: str, before: list[str], after: list[str]
) -> None:
    assert pieces(tokenizer, prompt, continuation) == (before, after)


@pytest.mark.parametrize(
    ("prompt", "continuation", "before", "after"),
    [
        ("is it", " (A)", ["<s>", "▁is", "▁it"], ["▁(", "A", ")"]),
        ("is it", "s", ["<s>", "▁is", "▁it"], ["s"]),
        ("is it ", "(A)", ["<s>", "▁is", "▁it"], ["▁(", "A", ")"]),
        # A letter that is not in the vocabulary becomes one token per byte.
        ("it", " ß it", ["<s>", "▁it"], ["▁", "<0xC3>", "<0x9F>", "▁it"]),
        ("", "it", ["<s>"], ["▁it"]),
    ],
)
def test_a_vocabulary_with_spaces_as_letters(
    prompt: str, continuation: str, before: list[str], after: list[str]
) -> None:
    """Like those of Llama 2, Mistral and Gemma."""
    assert pieces(sentence_pieces(), prompt, continuation) == (before, after)


def sentence_pieces() -> Tokenizer:
    merges = [("▁", "i"), ("▁i", "s"), ("▁i", "t"), ("▁", "(")]
    letters = ["<s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁ist(A)"]
    words = [*dict.fromkeys(letters), *(left + right for left, right in merges)]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, merges, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return tokenizer


def test_special_tokens_are_kept_before_the_text_and_dropped_after_it(tokenizer: Tokenizer) -> None:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A <|end|>", special_tokens=[("<|begin|>", 0), ("<|end|>", 1)]
    )
    assert pieces(tokenizer, "a", " (A)") == (["<|begin|>", "a"], ["Ġ(", "A", ")"])
    # With a begin token, the prompt may be empty.
    assert pieces(tokenizer, "", "b") == (["<|begin|>"], ["b"])


@pytest.mark.parametrize("continuation", [" (A)", "b ", " "])
def test_offsets_without_their_spaces_change_nothing(tokenizer: Tokenizer, continuation: str) -> None:
    expected = pieces(tokenizer, "a", continuation)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    assert pieces(tokenizer, "a", continuation) == expected


@pytest.mark.parametrize("direction", ["Left", "Right"])
def test_truncation_and_padding_of_a_saved_tokenizer_are_turned_off(
    folder: Path, tmp_path: Path, direction: str
) -> None:
    raw: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    raw["truncation"] = {"direction": direction, "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    raw["padding"] = {
        "strategy": {"Fixed": 16},
        "direction": direction,
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "<|begin|>",
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    assert pieces(load_tokenizer(tmp_path), "a text", " (A)") == (
        list("a") + ["Ġ", "t", "e", "x", "t"],
        ["Ġ(", "A", ")"],
    )


def test_an_empty_continuation_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(QuestionError, match="a choice is empty"):
        list(encode_pairs(tokenizer, [("a", "")]))


@pytest.mark.parametrize(("prompt", "continuation"), [("", "b"), ("n", "o"), (" ", "(A)")])
def test_a_continuation_without_a_token_before_it_is_refused(
    tokenizer: Tokenizer, prompt: str, continuation: str
) -> None:
    with pytest.raises(QuestionError, match="no token predicts the first token"):
        list(encode_pairs(tokenizer, [(prompt, continuation)]))


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json is missing"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", '{"version": "1.0"'])
def test_a_damaged_tokenizer_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)
