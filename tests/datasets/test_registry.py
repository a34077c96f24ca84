"""The registry of data sets: every entry can make a claim, and none is a task that is reserved for evaluation."""

import re
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from stages.core.errors import UserError
from stages.core.param_types import Name
from stages.core.params import read_document
from stages.datasets import parse, registry
from stages.datasets.kinds import BundledPairs, BundledSet
from stages.sources import bigbench

ROOT = Path(__file__).parents[2]

# An invented input in the form of each set.
INPUTS = {
    "multiemo": "The porridge was warm .",
    "multiemo_polar": "The porridge was warm .",
    "question_types": "Question: Who paints (here)? (Answer: Ann (a guest)).",
    "time_questions": "Sentence: It rains . \nQuestion: How long will it rain? \nCategory: Event Duration.",
    "vitaminc": "Harbour: It has nine berths.\nClaim: The harbour is small.",
    "fever": "On June 2017, the following claim was made: Gulls are birds.\nQ: Was this claim true or false?",
    "intent_recognition": "Utterance: Wake me at six",
    "social_support": "Have you tried turning the page?",
    "metaphor_boolean": "Hope is a kite <--> Hope needs wind",
    "epistemic_reasoning": "Premise: Ann hopes that it rains. Hypothesis: it rains.",
    "implicatures": "Speaker 1: 'Is it far?' Speaker 2: 'Bring boots.'",
    "winowhy": "Ann waved at Bo since she left. The 'she' refers to ann because people who leave wave.",
    "strategyqa": "Would a gull float?",
    "presuppositions_as_nli": "Sentence 1: Ann stopped. \nSentence 2: Ann had moved.\n\nThe answer is: ",
    "entailed_polarity": "Fact: Ann forgot to call. Q: Did Ann call?",
    "analytic_entailment": "Ann has a kite. So, Ann has a toy.",
    "irony_identification": "What a lovely leak",
    "logical_fallacy_detection": "Is it so? Say 'Valid' or 'Invalid' as you like. All gulls swim. Bo swims.",
    "misconceptions": "Gulls sleep in the air.",
    "anachronisms": "Caesar rang.",
    "moral_permissibility": "The kettle boils over. Should Ann wake Bo?",
    "question_acceptability": "Sentence: It rains . \nQuestion: How long rain will?",
}

# Folders of the 23 tasks that BIG-Bench Hard takes its 27 from (Suzgun et al. 2022, arXiv 2210.09261, appendix).
HARD = {
    "boolean_expressions",
    "causal_judgment",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies_syllogisms_negation",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction",
    "movie_recommendation",
    "multistep_arithmetic",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects",
    "web_of_lies",
    "word_sorting",
}


BUNDLED = {name: entry for name, entry in registry.LABELLED.items() if isinstance(entry, BundledSet)}
BUNDLED_PAIRS = {name: entry for name, entry in registry.INSTRUCTIONS.items() if isinstance(entry, BundledPairs)}


@pytest.mark.parametrize("entry", BUNDLED.values(), ids=str)
def test_every_set_parses_its_form_into_a_claim(entry: BundledSet) -> None:
    texts, cluster = entry.parse(INPUTS[entry.name])
    assert cluster
    for label in entry.labels.values():
        assert re.fullmatch(r'"[^"\n]+"( and "[^"\n]+")? is [^"\n]+', f"{parse.quoted(*texts)} is {label}")


def test_there_are_at_least_seventeen_bundled_sets_and_the_papers_seventeen() -> None:
    assert len({entry.task for entry in BUNDLED.values()}) >= 17
    assert len(registry.LABELLED) - len(BUNDLED) == 17


@pytest.mark.parametrize("entry", BUNDLED.values(), ids=str)
def test_label_words_complete_a_sentence(entry: BundledSet) -> None:
    words = list(entry.labels.values())
    assert len(words) > 1  # otherwise there is no wrong label to show
    assert len(set(words)) == len(words)
    for word in words:
        assert word == word.strip()
        assert not word.endswith(".")
        assert not word.startswith(("is ", "not "))
        # Titled, as the paper's label words are; small words excepted.
        assert all(part[0].isupper() or part[0].isdigit() or len(part) < 5 for part in word.split())


@pytest.mark.parametrize("entry", BUNDLED_PAIRS.values(), ids=str)
def test_a_lead_is_one_sentence(entry: BundledPairs) -> None:
    assert re.fullmatch(r"[A-Z][^.\n]+\.", entry.instruction)


def test_names_are_keys_file_names_and_taken_once() -> None:
    registries = (registry.LABELLED, registry.INSTRUCTIONS)
    for name in (name for entries in registries for name in entries):
        TypeAdapter(Name).validate_python(name)
    assert [entry.name for entry in registry.LABELLED.values()] == list(registry.LABELLED)
    assert [entry.name for entry in registry.INSTRUCTIONS.values()] == list(registry.INSTRUCTIONS)
    assert not registry.LABELLED.keys() & registry.INSTRUCTIONS.keys()


def tasks() -> list[str]:
    """The folder of every set in the archive."""
    return [entry.task for entry in BUNDLED.values()] + [entry.task for entry in BUNDLED_PAIRS.values()]


def test_one_pass_over_the_archive_extracts_every_file() -> None:
    assert sorted(registry.MEMBERS) == sorted(set(map(bigbench.member, tasks())))
    assert len(set(registry.MEMBERS)) == len(registry.MEMBERS)


def test_nothing_that_big_bench_hard_is_cut_from_is_trained_on() -> None:
    assert not {task.split("/")[0] for task in tasks()} & HARD


@pytest.mark.parametrize(
    "params", sorted([ROOT / "params.yaml", *ROOT.glob("presets/*.yaml")]), ids=lambda path: path.name
)
def test_the_projects_own_lists_are_known(params: Path) -> None:
    document = read_document(params)
    assert set(document["datasets"]) <= registry.LABELLED.keys()
    assert set(document["instructions"]) <= registry.INSTRUCTIONS.keys()


def test_an_unknown_name_is_one_line_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"^params\.yaml: datasets: 'sst9' is not known; known are multiemo, "):
        registry.labelled("sst9")
    with pytest.raises(UserError, match=r"^params\.yaml: instructions: 'flan' is not known; known are qasc_answers, "):
        registry.instructions("flan")
