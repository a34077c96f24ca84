"""Parsing an input into quoted texts and a cluster key: an invented input of each form, and inputs of another form."""

from collections.abc import Callable

import polars as pl
import pytest

from stages.datasets import parse

Parser = Callable[[str], tuple[tuple[str, ...], str]]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("The tea is cold.",), '"The tea is cold."'),
        (("The tea is cold.", "The tea is warm."), '"The tea is cold." and "The tea is warm."'),
        # The reference generator deletes quotes and newlines, puts nothing in their place, and strips last.
        (('She said "no" twice.',), '"She said no twice."'),
        (("one line\nanother\n",), '"one lineanother"'),
        (('  " padded "  ',), '"padded"'),
        (("it's “curly”, it stays",), '"it\'s “curly”, it stays"'),
        (("",), '""'),
        # Python's strip, which the reference uses, takes these off as well.
        (("\x1c\u2028\xa0a\x1f",), '"a"'),
    ],
)
def test_quoted(texts: tuple[str, ...], expected: str) -> None:
    assert parse.quoted(*texts) == expected
    columns = {f"text{number}": [text] for number, text in enumerate(texts)}
    assert pl.DataFrame(columns).select(parse.quoted_columns(*columns)).item() == expected


@pytest.mark.parametrize(
    ("parse", "text", "texts", "cluster"),
    [
        (parse.sentence, "The soup was fine.", ("The soup was fine.",), "The soup was fine."),
        (parse.utterance, "Utterance: Wake me at six", ("Wake me at six",), "Wake me at six"),
        (
            parse.dated_claim,
            "On June 2017, the following claim was made: Q: is a letter.\nQ: Was this claim true or false?",
            ("Q: is a letter.",),
            "Q: is a letter.",
        ),
        (
            parse.passage_and_claim,
            "Harbour: It has 1,200\ufffdberths: all taken.\nClaim: The harbour is full.",
            ("Harbour: It has 1,200 berths: all taken.", "The harbour is full."),
            "Harbour",
        ),
        (
            parse.metaphor_and_reading,
            "Hope is a kite <--> Hope needs wind",
            ("Hope is a kite ", " Hope needs wind"),
            "Hope is a kite",
        ),
        (
            parse.premise_and_hypothesis,
            "Premise: Ann hopes that Ben fears that it rains. Hypothesis: Ben fears that it rains.",
            ("Ann hopes that Ben fears that it rains.", "Ben fears that it rains."),
            "it rains.",
        ),
        (
            parse.dialogue,
            "Speaker 1: 'Is it far?' Speaker 2: 'Bring two pairs of boots.'",
            ("Speaker 1: 'Is it far?' Speaker 2: 'Bring two pairs of boots.'",),
            "'Is it far?'",
        ),
        (
            parse.question_after_sentence,
            "Sentence: It rains . \nQuestion: How long rain will? ",
            ("How long rain will?",),
            "It rains .",
        ),
        (
            parse.pronoun_and_reason,
            "Ann waved at Bo since she left. The 'she' refers to ann because people wave because they leave.",
            (
                "Ann waved at Bo since she left.",
                "The 'she' refers to ann because people wave because they leave.",
            ),
            "Ann waved at Bo since she left.",
        ),
        (
            parse.two_sentences,
            "Sentence 1: Ann:\r\n she didn't stop. \nSentence 2: Ann had moved.\n\nThe answer is: ",
            ("Ann: she didn't stop.", "Ann had moved."),
            "Ann:\r\n she didn't stop.",
        ),
        (
            parse.fact_and_question,
            "Fact: Ann forgot to call. Q: Did Ann call?",
            ("Ann forgot to call.", "Did Ann call?"),
            "Ann forgot to call.",
        ),
        (
            parse.argument,
            "Think. Is this 'Valid' or 'Invalid' as it stands? All gulls swim. Bo swims.",
            ("All gulls swim. Bo swims.",),
            "All gulls swim. Bo swims.",
        ),
    ],
)
def test_each_form(parse: Parser, text: str, texts: tuple[str, ...], cluster: str) -> None:
    assert parse(text) == (texts, cluster)


def test_what_belongs_together_shares_a_cluster() -> None:
    rain = "Premise: Ann hopes that it rains. Hypothesis: it rains."
    twice = "Premise: Cem knows that Ann hopes that it rains. Hypothesis: Cem knows that it rains."
    assert parse.premise_and_hypothesis(rain)[1] == parse.premise_and_hypothesis(twice)[1]
    one, other = (f"Mill: It has {count} wheels.\nClaim: The mill is large." for count in ("two", "nine"))
    assert parse.passage_and_claim(one)[1] == parse.passage_and_claim(other)[1]
    one, other = (f"Time is a river <--> Time {reading}" for reading in ("flows", "is wet"))
    assert parse.metaphor_and_reading(one)[1] == parse.metaphor_and_reading(other)[1]
    one, other = (f"Speaker 1: 'Tea?' Speaker 2: '{reply}'" for reply in ("Always.", "It is late."))
    assert parse.dialogue(one)[1] == parse.dialogue(other)[1]


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse.utterance, "Wake me at six", "should start with 'Utterance: '"),
        (parse.dated_claim, "On June 2017, the following claim was made: It is so.", "should match"),
        (parse.dated_claim, "It is so.\nQ: Was this claim true or false?", "should match"),
        (parse.passage_and_claim, "Harbour: It is full. Claim: It is full.", "should contain '\\nClaim: '"),
        (parse.metaphor_and_reading, "Hope is a kite", "should contain '<-->'"),
        (parse.premise_and_hypothesis, "Premise: Ann hopes that it rains.", "should match"),
        (parse.dialogue, "'Tea?' Speaker 2: 'Always.'", "should start with 'Speaker 1: '"),
        (parse.dialogue, "Speaker 1: 'Tea?'", "should contain ' Speaker 2: '"),
        (parse.question_after_sentence, "Question: Why?", "should match"),
        (parse.pronoun_and_reason, "Ann left.", "should match"),
        (parse.two_sentences, "Sentence 1: Ann left.", "should match"),
        (parse.fact_and_question, "Fact: Ann left.", "should match"),
        (parse.argument, "All gulls swim.", "should match"),
    ],
)
def test_another_form_is_refused(parse: Parser, text: str, expected: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert str(caught.value).startswith(expected)
