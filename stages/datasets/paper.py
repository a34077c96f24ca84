"""The seventeen sets of the paper, in its order (Wei et al. 2023; google/sycophancy-intervention, commit fb75986).

The text columns, their order, the label words and the train split are those of the reference generator; the rows are
those of the hub. Licences are those stated on the hub's pages, and NOASSERTION where a page states none.
"""

from stages.datasets.kinds import HubSet

_SENTIMENT = {"negative": "Negative Sentiment", "neutral": "Neutral Sentiment", "positive": "Positive Sentiment"}
_INFERENCE = {
    "entailment": "Entailment",
    "neutral": "Neither Entailment Nor Contradiction",
    "contradiction": "Contradiction",
}
_GLUE, _SUPER_GLUE, _TWEETS = "nyu-mll/glue", "aps/super_glue", "cardiffnlp/tweet_eval"
_SENTENCES = ("sentence1", "sentence2")
_PREMISE = ("premise", "hypothesis")
_UNKNOWN = "NOASSERTION"

PAPER_SETS = (
    HubSet(
        "sst2",
        "stanfordnlp/sst2",
        "",
        {"negative": "Negative Sentiment", "positive": "Positive Sentiment"},
        ("sentence",),
        67_349,
        _UNKNOWN,
    ),
    HubSet(
        "rotten_tomatoes",
        "cornell-movie-review-data/rotten_tomatoes",
        "",
        {"neg": "Negative Sentiment", "pos": "Positive Sentiment"},
        ("text",),
        8_530,
        _UNKNOWN,
    ),
    HubSet("tweet_sentiment", _TWEETS, "sentiment", _SENTIMENT, ("text",), 45_615, _UNKNOWN),
    HubSet(
        "tweet_offensive",
        _TWEETS,
        "offensive",
        {"non-offensive": "Not Offensive", "offensive": "Offensive"},
        ("text",),
        11_916,
        _UNKNOWN,
    ),
    HubSet("tweet_irony", _TWEETS, "irony", {"non_irony": "Not Irony", "irony": "Irony"}, ("text",), 2_862, _UNKNOWN),
    HubSet(
        "qqp",
        _GLUE,
        "qqp",
        {"not_duplicate": "Not Duplicate", "duplicate": "Duplicate"},
        ("question1", "question2"),
        363_846,
        _UNKNOWN,
    ),
    HubSet(
        "mrpc",
        _GLUE,
        "mrpc",
        {"not_equivalent": "Not Equivalent", "equivalent": "Equivalent"},
        _SENTENCES,
        3_668,
        _UNKNOWN,
    ),
    HubSet(
        "paws",
        "google-research-datasets/paws",
        "labeled_final",
        {"0": "Different Meaning", "1": "Paraphrase"},
        _SENTENCES,
        49_401,
        _UNKNOWN,
    ),
    HubSet(
        "rte",
        _SUPER_GLUE,
        "rte",
        {"entailment": "Entailment", "not_entailment": "Not Entailment"},
        _PREMISE,
        2_490,
        _UNKNOWN,
    ),
    HubSet(
        "wnli",
        _GLUE,
        "wnli",
        {"not_entailment": "Not Entailment", "entailment": "Entailment"},
        _SENTENCES,
        635,
        _UNKNOWN,
    ),
    # The sentence of the passage comes first, as in the reference generator; in the file, the question does.
    HubSet(
        "qnli",
        _GLUE,
        "qnli",
        {"entailment": "Entailment", "not_entailment": "Not Entailment"},
        ("sentence", "question"),
        104_743,
        _UNKNOWN,
    ),
    HubSet("mnli", _GLUE, "mnli", _INFERENCE, _PREMISE, 392_702, _UNKNOWN),
    # On the hub 785 of its rows have no label (-1).
    HubSet("snli", "stanfordnlp/snli", "", _INFERENCE, _PREMISE, 550_152, "CC-BY-SA-4.0"),
    HubSet(
        "cb",
        _SUPER_GLUE,
        "cb",
        {
            "entailment": "Entailment",
            "contradiction": "Contradiction",
            "neutral": "Neither Entailment Nor Contradiction",
        },
        _PREMISE,
        250,
        _UNKNOWN,
    ),
    HubSet(
        "trec",
        "CogComp/trec",
        "",
        {
            "ABBR": "Abbreviation",
            "ENTY": "Entity",
            "DESC": "Description or Abstract Concept",
            "HUM": "Human Being",
            "LOC": "Location",
            "NUM": "Numeric Value",
        },
        ("text",),
        5_452,
        _UNKNOWN,
        label="coarse_label",
    ),
    HubSet(
        "ag_news",
        "fancyzhx/ag_news",
        "",
        {"World": "World", "Sports": "Sports", "Business": "Business", "Sci/Tech": "Science and Technology"},
        ("text",),
        120_000,
        _UNKNOWN,
    ),
    HubSet(
        "cola",
        _GLUE,
        "cola",
        {"unacceptable": "Unacceptable Sentence", "acceptable": "Acceptable Sentence"},
        ("sentence",),
        8_551,
        _UNKNOWN,
    ),
)

# Pairs of text and label in the paper's data, according to a secondary source.
PUBLISHED_PAIRS = 1_736_834
