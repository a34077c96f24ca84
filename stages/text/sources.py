"""The registry of data sets: labelled classification sets and instruction sets, by name.

A set's label words complete the claim `"input" is …`; each was worded after reading rows of the set, so that the claim
is English and says what the annotators were asked. All sets here are bundled (BIG-bench 1.0.0); none is a task that
BIG-Bench Hard is cut from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.project.errors import UserError
from stages.text import bigbench
from stages.text import inputs as parse

Parsed = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class LabelledSet:
    """A classification set.

    `task` is its folder in the archive, `labels` maps the file's options to label words in index order, and `parse`
    splits an input into the texts that a claim quotes and the key of the cluster (the sentence or page) it belongs to.
    `read` gets the options from the file; where `some_labels` holds, rows with an option that is not in `labels` are
    no part of the set, else they are an error.
    """

    name: str
    task: str
    labels: dict[str, str]
    parse: Callable[[str], Parsed]
    read: Callable[[Path], list[bigbench.Choice]] = bigbench.read_choices
    some_labels: bool = False
    licence: str = "Apache-2.0"


@dataclass(frozen=True)
class InstructionSet:
    """An instruction set: `lead` says in one sentence what the input asks for."""

    name: str
    task: str
    lead: str
    licence: str = "Apache-2.0"


_LABELLED = (
    # "So I honestly recommend Mr. Peter.": reviews of hotels, doctors, products and schools, machine-translated from
    # Polish. One input is empty and two hold U+FFFD.
    LabelledSet(
        "multiemo",
        "multiemo/all_sentence_en",
        {
            "negative": "Negative in Sentiment",
            "neutral": "Neutral in Sentiment",
            "positive": "Positive in Sentiment",
            "ambivalent": "Mixed in Sentiment",
        },
        parse.sentence,
    ),
    # The two clear labels of multiemo: a model of 135 million parameters learns to tell these apart.
    LabelledSet(
        "multiemo_polar",
        "multiemo/all_sentence_en",
        {"negative": "Negative in Sentiment", "positive": "Positive in Sentiment"},
        parse.sentence,
        some_labels=True,
    ),
    # "Question: <question> (Answer: <answer>).": what kind of thing the answer is. The annotators often named several
    # kinds; those rows, and the kinds with few rows, are left out.
    LabelledSet(
        "question_types",
        "natural_instructions/subtask046_miscellaenous_question_typing",
        {
            "Humans.": "a Question About a Person",
            "Date.": "a Question About a Date",
            "Quantity.": "a Question About a Quantity",
            "Location.": "a Question About a Place",
        },
        parse.question,
        read=bigbench.read_single_targets,
        some_labels=True,
    ),
    # "Sentence: … \nQuestion: … \nCategory: Event Duration.", and whether that is what the question asks: the rows that
    # say yes. Several questions share a sentence, hence the cluster.
    LabelledSet(
        "time_questions",
        "natural_instructions/subtask019_mctaco_temporal_reasoning_category",
        {
            "Event Duration": "a Question About a Duration",
            "Event Ordering": "a Question About an Order of Events",
            "Absolute Timepoint": "a Question About a Point in Time",
            "Frequency": "a Question About a Frequency",
            "Transient v. Stationary": "a Question About a Lasting State",
        },
        parse.question_about_sentence,
        read=bigbench.read_confirmed,
    ),
    # "<page>: <evidence>\nClaim: <claim>": several revisions of one page's sentence differ in a number, hence the
    # cluster by page. 158 inputs hold U+FFFD where the original has a no-break space.
    LabelledSet(
        "vitaminc",
        "vitaminc_fact_verification",
        {
            "True": "a Passage with a Claim It Supports",
            "False": "a Passage with a Claim It Refutes",
            "Neither": "a Passage with a Claim It Leaves Open",
        },
        parse.passage_and_claim,
    ),
    # The annotators judged by Wikipedia of June 2017, and some claims have changed their truth since.
    LabelledSet(
        "fever",
        "fact_checker/fever",
        {"true": "True as of June 2017", "false": "False as of June 2017"},
        parse.dated_claim,
    ),
    LabelledSet(
        "intent_recognition",
        "intent_recognition",
        {
            "add_to_playlist": "a Request to Add Music to a Playlist",
            "book_restaurant": "a Request to Book a Table",
            "get_weather": "a Request for the Weather",
            "play_music": "a Request to Play Music",
            "search_screening_event": "a Request About Movie Screenings",
            "search_creative_work": "a Request for a Creative Work by Its Title",
            "rate_book": "a Rating of a Book or Other Work",
        },
        parse.utterance,
    ),
    # Replies from online discussions; 78% are neutral.
    LabelledSet(
        "social_support",
        "social_support",
        {"unsupportive": "an Unsupportive Reply", "neutral": "a Neutral Reply", "supportive": "a Supportive Reply"},
        parse.sentence,
    ),
    # "<metaphor> <--> <reading>": several readings share one metaphor, hence the cluster.
    LabelledSet(
        "metaphor_boolean",
        "metaphor_boolean",
        {"True": "a Metaphor with Its Correct Meaning", "False": "a Metaphor with a Wrong Meaning"},
        parse.metaphor_and_reading,
    ),
    # Templates ("X thinks that Y knows that …") over 900 captions: the caption is the cluster.
    LabelledSet(
        "epistemic_reasoning",
        "epistemic_reasoning",
        {
            "entailment": "a Premise with a Hypothesis That Follows",
            "non-entailment": "a Premise with a Hypothesis That Does Not Have to Follow",
        },
        parse.premise_and_hypothesis,
    ),
    LabelledSet(
        "implicatures",
        "implicatures",
        {"yes": "a Dialogue Where the Reply Means Yes", "no": "a Dialogue Where the Reply Means No"},
        parse.dialogue,
    ),
)

_INSTRUCTIONS = (
    InstructionSet(
        "qasc_answers",
        "natural_instructions/subtask041_qasc_answer_generation",
        "Answer the question with words from the fact.",
    ),
    InstructionSet(
        "qasc_questions",
        "natural_instructions/subtask040_qasc_question_generation",
        "Turn the fact into a question.",
    ),
    InstructionSet(
        "winogrande",
        "natural_instructions/subtask033_winogrande_answer_generation",
        "Say what belongs in the blank.",
    ),
    InstructionSet(
        "paraphrases",
        "natural_instructions/subtask045_miscellaneous_sentence_paraphrasing",
        "Say the sentence in other words, so that it still answers the question.",
    ),
)

LABELLED = {entry.name: entry for entry in _LABELLED}
INSTRUCTIONS = {entry.name: entry for entry in _INSTRUCTIONS}

# Every file that the registry reads: one pass over the archive extracts them all.
MEMBERS = tuple(dict.fromkeys(bigbench.member(entry.task) for entry in (*_LABELLED, *_INSTRUCTIONS)))


def labelled(name: str) -> LabelledSet:
    """The classification set `name`."""
    if name not in LABELLED:
        raise UserError(f"params.yaml: datasets: {name!r} is not known; known are {', '.join(LABELLED)}")
    return LABELLED[name]


def instructions(name: str) -> InstructionSet:
    """The instruction set `name`."""
    if name not in INSTRUCTIONS:
        raise UserError(f"params.yaml: instructions: {name!r} is not known; known are {', '.join(INSTRUCTIONS)}")
    return INSTRUCTIONS[name]
