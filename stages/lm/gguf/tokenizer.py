"""The vocabulary in a GGUF file's fields as a tokenizer.json: byte-level BPE of the kinds that are listed here."""

from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]

_CONTROL, _USER_DEFINED = 3, 4  # gguf.TokenType

# How a text is cut before pairs are merged: contractions, words, numbers (of up to three digits, or digit by digit),
# marks, and spaces.
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class PreTokenizer:
    """What a kind of vocabulary does before merging, and what of the tokenizer follows from the kind."""

    steps: tuple[dict[str, Any], ...]
    normalizer: dict[str, str] | None = None
    ignore_merges: bool = False
    begins: bool = False  # whether a text begins with the begin token where the file does not say


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def _split(numbers: str) -> tuple[dict[str, Any], ...]:
    pattern = {"Regex": f"{_WORDS}|{numbers}|{_REST}"}
    split = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    return split, _byte_level(use_regex=False)


PRE_TOKENIZERS = {
    "smollm": PreTokenizer(({"type": "Digits", "individual_digits": True}, _byte_level(use_regex=True))),
    "llama-bpe": PreTokenizer(_split(r"\p{N}{1,3}"), ignore_merges=True, begins=True),
    "qwen2": PreTokenizer(_split(r"\p{N}"), normalizer={"type": "NFC"}),
}


def tokenizer(fields: Fields) -> dict[str, Any]:
    """The content of tokenizer.json."""
    words, kind = fields["tokenizer.ggml.tokens"], PRE_TOKENIZERS[fields["tokenizer.ggml.pre"]]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(words, fields["tokenizer.ggml.token_type"]),
        "normalizer": kind.normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": list(kind.steps)},
        "post_processor": _begin(fields) if fields.get("tokenizer.ggml.add_bos_token", kind.begins) else None,
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
    """The tokens that tokenizer_config.json names."""
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


def _begin(fields: Fields) -> dict[str, Any]:
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
