"""Converts the vocabulary of a GGUF file to tokenizer.json: byte-level BPE with the pre-tokenizers listed here."""

from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]

_CONTROL, _USER_DEFINED = 3, 4  # gguf.TokenType

# How text is split before merging: contractions, words, numbers (up to three digits, or single digits), punctuation,
# and whitespace.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class PreTokenizer:
    """A kind of vocabulary: how text is split before merging, and other settings that depend on the kind."""

    steps: tuple[dict[str, Any], ...]
    normalizer: dict[str, str] | None = None
    ignore_merges: bool = False
    adds_begin_token: bool = False  # the default if the file does not say


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _split(numbers: str) -> tuple[dict[str, Any], ...]:
    pattern = {"Regex": f"{_WORDS}|{numbers}|{_REST}"}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    return split, _byte_level(use_regex=False)


PRE_TOKENIZERS = {
    "smollm": PreTokenizer(({"type": "Digits", "individual_digits": True}, _byte_level(use_regex=True))),
    "llama-bpe": PreTokenizer(_split(r"\p{N}{1,3}"), ignore_merges=True, adds_begin_token=True),
    "qwen2": PreTokenizer(_split(r"\p{N}"), normalizer={"type": "NFC"}),
}


def tokenizer(fields: Fields) -> dict[str, Any]:
    """The content of tokenizer.json, from the fields of a GGUF file."""
    words, kind = fields["tokenizer.ggml.tokens"], PRE_TOKENIZERS[fields["tokenizer.ggml.pre"]]
    adds_begin_token = fields.get("tokenizer.ggml.add_bos_token", kind.adds_begin_token)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(words, fields["tokenizer.ggml.token_type"]),
        "normalizer": kind.normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(kind.steps)},
        "post_processor": _add_begin_token(fields) if adds_begin_token else None,
        "decoder": _byte_level(use_regex=True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": kind.ignore_merges,
            "vocab": {word: index for index, word in enumerate(words)},
            "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
        },
    }


def special_tokens(fields: Fields) -> dict[str, str]:
    """The special tokens by their names in tokenizer_config.json."""
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    ids = {name: fields.get(f"tokenizer.ggml.{key}_token_id") for name, key in names.items()}
    return {name: fields["tokenizer.ggml.tokens"][index] for name, index in ids.items() if index is not None}


def _added_tokens(words: list[str], kinds: list[int]) -> list[dict[str, Any]]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": index, "content": words[index], **flags, "special": kind == _CONTROL}
        for index, kind in enumerate(kinds)
        if kind in (_CONTROL, _USER_DEFINED)
    ]


def _add_begin_token(fields: Fields) -> dict[str, Any]:
    index = fields["tokenizer.ggml.bos_token_id"]
    word = fields["tokenizer.ggml.tokens"][index]
    first, text = {"SpecialToken": {"id": word, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, second],
        "special_tokens": {word: {"id": word, "ids": [index], "tokens": [word]}},
    }
