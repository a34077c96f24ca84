"""Parsers for the inputs of the bundled sets: they split an input into the texts that a claim quotes, and its cluster.

Each parser takes an input from the file and returns (texts, cluster key). It raises ValueError if the input has another
form; the caller adds file and row to the message.
"""

import re

import polars as pl

_DATED = re.compile(
    r"On June 2017, the following claim was made: (?P<claim>.+)\nQ: Was this claim true or false\?", re.S
)
_PREMISE = re.compile(r"Premise: (?P<premise>.+) Hypothesis: (?P<hypothesis>.+)", re.S)
_QUESTION = re.compile(r"Question: (?P<question>.+?) *\(Answer: .*\)\.?\s*", re.S)
_ABOUT_SENTENCE = re.compile(r"Sentence: (?P<sentence>.+?) *\nQuestion: (?P<question>.+?) *\nCategory: .+", re.S)
_QUESTION_AFTER = re.compile(r"Sentence: (?P<sentence>.+?) *\nQuestion: (?P<question>.+?)\s*", re.S)
_PRONOUN = re.compile(r"(?P<sentence>.+?) *(?P<reason>The '[^']+' refers to .+? because .+)", re.S)
_TWO_SENTENCES = re.compile(r"Sentence 1: (?P<first>.+?)\s*\nSentence 2: (?P<second>.+?)\s*\nThe answer is: ?", re.S)
_FACT = re.compile(r"Fact: (?P<fact>.+?) Q: (?P<question>.+)", re.S)
_ARGUMENT = re.compile(r".+?'Valid' or 'Invalid'[^.?]*[.?] +(?P<argument>.+)", re.S)
# The characters that Python's str.strip removes, a few more than polars' strip_chars does by default.
_SPACE = "".join(filter(str.isspace, map(chr, range(0x3001))))
_BELIEF = re.compile(r"^\w+ \w+ that ")


def quoted(*texts: str) -> str:
    """The quoted texts of a claim: `"a"`, or `"a" and "b"` for a pair (paper section 3; reference generator)."""
    return " and ".join(f'"{_clean(text)}"' for text in texts)


def quoted_columns(*columns: str) -> pl.Expr:
    """`quoted` for each row, with the texts of the columns; a null counts as an empty text."""
    texts = (pl.col(column).fill_null("").str.replace_all('["\n]', "").str.strip_chars(_SPACE) for column in columns)
    return pl.concat_str([pl.format('"{}"', text) for text in texts], separator=" and ")


def _clean(text: str) -> str:
    return text.replace('"', "").replace("\n", "").strip()


def sentence(text: str) -> tuple[tuple[str, ...], str]:
    """The complete input is one text and its own cluster."""
    return (text,), text


def utterance(text: str) -> tuple[tuple[str, ...], str]:
    """`Utterance: <text>`."""
    return sentence(_after("Utterance: ", text))


def question(text: str) -> tuple[tuple[str, ...], str]:
    """`Question: <question> (Answer: <answer>).`; the answer is dropped, since it would give the label away."""
    return sentence(_match(_QUESTION, text)["question"])


def question_about_sentence(text: str) -> tuple[tuple[str, ...], str]:
    """`Sentence: <sentence>`, `Question: <question>`, `Category: …` on a line each; the sentence is the cluster."""
    parts = _match(_ABOUT_SENTENCE, text)
    return (parts["question"],), parts["sentence"]


def question_after_sentence(text: str) -> tuple[tuple[str, ...], str]:
    """`Sentence: <sentence>`, `Question: <question>` on a line each; the sentence is the cluster."""
    parts = _match(_QUESTION_AFTER, text)
    return (parts["question"],), parts["sentence"]


def pronoun_and_reason(text: str) -> tuple[tuple[str, ...], str]:
    """`<sentence> The '<pronoun>' refers to <noun> because <reason>`; the sentence is the cluster."""
    parts = _match(_PRONOUN, text)
    return (parts["sentence"], parts["reason"]), parts["sentence"]


def two_sentences(text: str) -> tuple[tuple[str, ...], str]:
    """`Sentence 1: <text>`, `Sentence 2: <text>` and a cue on a line each; the first sentence is the cluster."""
    parts = _match(_TWO_SENTENCES, text)
    return (re.sub(r"\s+", " ", parts["first"]), parts["second"]), parts["first"]


def fact_and_question(text: str) -> tuple[tuple[str, ...], str]:
    """`Fact: <fact> Q: <question>`; the fact is the cluster."""
    parts = _match(_FACT, text)
    return (parts["fact"], parts["question"]), parts["fact"]


def argument(text: str) -> tuple[tuple[str, ...], str]:
    """A lead-in of one or two sentences that names the possible answers, and the argument."""
    return sentence(_match(_ARGUMENT, text)["argument"])


def dated_claim(text: str) -> tuple[tuple[str, ...], str]:
    """`On June 2017, the following claim was made: <claim>` and a question."""
    return sentence(_match(_DATED, text)["claim"])


def passage_and_claim(text: str) -> tuple[tuple[str, ...], str]:
    """`<page>: <evidence>`, a newline, `Claim: <claim>`; the page is the cluster.

    U+FFFD replaces a no-break space, and -LRB- a bracket.
    """
    passage, claim = _split_at(text.replace("\ufffd", " "), "\nClaim: ")
    return (_detokenised(passage), _detokenised(claim)), passage.split(": ")[0]


def metaphor_and_reading(text: str) -> tuple[tuple[str, ...], str]:
    """`<metaphor> <--> <reading>`; the metaphor is the cluster."""
    metaphor, reading = _split_at(text, "<-->")
    return (metaphor, reading), metaphor.strip()


def premise_and_hypothesis(text: str) -> tuple[tuple[str, ...], str]:
    """`Premise: X thinks that Y knows that <caption>. Hypothesis: …`; the caption is the cluster."""
    parts = _match(_PREMISE, text)
    caption = _BELIEF.sub("", _BELIEF.sub("", parts["premise"]))
    return (parts["premise"], parts["hypothesis"]), caption


def dialogue(text: str) -> tuple[tuple[str, ...], str]:
    """`Speaker 1: '…' Speaker 2: '…'`; the question is the cluster."""
    question, _ = _split_at(_after("Speaker 1: ", text), " Speaker 2: ")
    return (text,), question


def _detokenised(text: str) -> str:
    """Tokenised text, which has spaces around punctuation, in normal spelling."""
    text = text.replace("-LRB-", "(").replace("-RRB-", ")")
    return re.sub(r"(?<=\() +| +(?=[).,;:!?%]|'s\b)", "", text)


def _after(start: str, text: str) -> str:
    if not text.startswith(start):
        raise ValueError(f"should start with {start!r}")
    return text.removeprefix(start)


def _split_at(text: str, mark: str) -> tuple[str, str]:
    before, separator, after = text.partition(mark)
    if not separator:
        raise ValueError(f"should contain {mark!r}")
    return before, after


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"should match {pattern.pattern!r}")
    return match
