"""The bundled sets (BIG-bench 1.0.0): labelled classification sets and instruction sets.

The label words of each set were written after reading some of its rows, so that a claim is English and states what the
annotators were asked. None of the sets is a task that BIG-Bench Hard was selected from.
"""

from stages.datasets import parse
from stages.datasets.kinds import BundledPairs, BundledSet
from stages.sources import bigbench

BUNDLED_SETS = (
    # "So I honestly recommend Mr. Peter.": reviews of hotels, doctors, products and schools, machine-translated from
    # Polish. One input is empty and two contain U+FFFD.
    BundledSet(
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
    # The two clear labels of multiemo, which a model of 135 million parameters learns to distinguish.
    BundledSet(
        "multiemo_polar",
        "multiemo/all_sentence_en",
        {"negative": "Negative in Sentiment", "positive": "Positive in Sentiment"},
        parse.sentence,
        some_labels=True,
    ),
    # "Question: <question> (Answer: <answer>).": what kind of thing the answer is. The annotators often named several
    # kinds; these rows, and the kinds with few rows, are left out.
    BundledSet(
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
    # "Sentence: … \nQuestion: … \nCategory: Event Duration.", and whether the question asks for that: the rows that say
    # yes. Several questions share a sentence, which is therefore the cluster.
    BundledSet(
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
    # "<page>: <evidence>\nClaim: <claim>": several revisions of a sentence differ only in a number, so that the page is
    # the cluster. 158 inputs contain U+FFFD where the original has a no-break space.
    BundledSet(
        "vitaminc",
        "vitaminc_fact_verification",
        {
            "True": "a Passage with a Claim It Supports",
            "False": "a Passage with a Claim It Refutes",
            "Neither": "a Passage with a Claim It Leaves Open",
        },
        parse.passage_and_claim,
    ),
    # The annotators used Wikipedia as of June 2017; some claims that were true then are false now, or the reverse.
    BundledSet(
        "fever",
        "fact_checker/fever",
        {"true": "True as of June 2017", "false": "False as of June 2017"},
        parse.dated_claim,
    ),
    BundledSet(
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
    BundledSet(
        "social_support",
        "social_support",
        {"unsupportive": "an Unsupportive Reply", "neutral": "a Neutral Reply", "supportive": "a Supportive Reply"},
        parse.sentence,
    ),
    # "<metaphor> <--> <reading>": several readings share a metaphor, which is therefore the cluster.
    BundledSet(
        "metaphor_boolean",
        "metaphor_boolean",
        {"True": "a Metaphor with Its Correct Meaning", "False": "a Metaphor with a Wrong Meaning"},
        parse.metaphor_and_reading,
    ),
    # Templates ("X thinks that Y knows that …") filled with 900 captions; the caption is the cluster.
    BundledSet(
        "epistemic_reasoning",
        "epistemic_reasoning",
        {
            "entailment": "a Premise with a Hypothesis That Follows",
            "non-entailment": "a Premise with a Hypothesis That Does Not Have to Follow",
        },
        parse.premise_and_hypothesis,
    ),
    BundledSet(
        "implicatures",
        "implicatures",
        {"yes": "a Dialogue Where the Reply Means Yes", "no": "a Dialogue Where the Reply Means No"},
        parse.dialogue,
    ),
    # A sentence with a pronoun, and a reason for what the pronoun refers to. Several reasons share a sentence, which is
    # therefore the cluster. Many wrong reasons lead to the right noun.
    BundledSet(
        "winowhy",
        "winowhy",
        {
            "correct": "a Sentence with a Sound Reason for What Its Pronoun Means",
            "incorrect": "a Sentence with an Unsound Reason for What Its Pronoun Means",
        },
        parse.pronoun_and_reason,
    ),
    BundledSet(
        "strategyqa",
        "strategyqa",
        {"Yes": "a Question Whose Answer Is Yes", "No": "a Question Whose Answer Is No"},
        parse.sentence,
    ),
    # "Sentence 1: …", "Sentence 2: …" on a line each, and a cue. Several pairs share the first sentence, which is
    # therefore the cluster.
    BundledSet(
        "presuppositions_as_nli",
        "presuppositions_as_nli",
        {
            "entailment": "a Premise with a Hypothesis That Follows",
            "neutral": "a Premise with a Hypothesis That It Leaves Open",
            "contradiction": "a Premise with a Hypothesis That It Contradicts",
        },
        parse.two_sentences,
    ),
    # "Fact: … Q: …".
    BundledSet(
        "entailed_polarity",
        "entailed_polarity",
        {
            "yes": "a Fact with a Question That It Answers with Yes",
            "no": "a Fact with a Question That It Answers with No",
        },
        parse.fact_and_question,
    ),
    # "… So, …" or "… Therefore, …": a statement and a conclusion from it.
    BundledSet(
        "analytic_entailment",
        "analytic_entailment",
        {
            "entailment": "a Conclusion That Follows by the Meaning of the Words",
            "no-entailment": "a Conclusion That Does Not Follow by the Meaning of the Words",
        },
        parse.sentence,
    ),
    # Remarks and situations, so that the label is not "an Ironic Remark".
    BundledSet(
        "irony_identification",
        "irony_identification",
        {"ironic": "an Example of Irony", "not ironic": "an Example Without Irony"},
        parse.sentence,
    ),
    # One of two lead-ins, and an argument; most arguments occur with both.
    BundledSet(
        "logical_fallacy_detection",
        "logical_fallacy_detection",
        {"Valid": "a Valid Argument", "Invalid": "an Invalid Argument"},
        parse.argument,
    ),
    BundledSet(
        "misconceptions",
        "misconceptions",
        {"T": "a True Statement", "F": "a Common Misconception"},
        parse.sentence,
    ),
    BundledSet(
        "anachronisms",
        "anachronisms",
        {"Yes": "a Sentence with an Anachronism", "No": "a Sentence Without an Anachronism"},
        parse.sentence,
    ),
    # Dilemmas that end in a question; the label is the answer of most people in surveys.
    BundledSet(
        "moral_permissibility",
        "moral_permissibility",
        {"Yes": "a Dilemma Where Most People Say Yes", "No": "a Dilemma Where Most People Say No"},
        parse.sentence,
    ),
    # "Sentence: … \nQuestion: …": whether the question is free of errors (5% are not). Several questions share a
    # sentence.
    BundledSet(
        "question_acceptability",
        "natural_instructions/subtask021_mctaco_grammatical_logical",
        {
            "Yes.": "a Question Without an Error in Grammar or Logic",
            "No.": "a Question with an Error in Grammar or Logic",
        },
        parse.question_after_sentence,
        read=bigbench.read_single_targets,
    ),
)

BUNDLED_PAIRS = (
    BundledPairs(
        "qasc_answers",
        "natural_instructions/subtask041_qasc_answer_generation",
        "Answer the question with words from the fact.",
    ),
    BundledPairs(
        "qasc_questions",
        "natural_instructions/subtask040_qasc_question_generation",
        "Turn the fact into a question.",
    ),
    BundledPairs(
        "winogrande",
        "natural_instructions/subtask033_winogrande_answer_generation",
        "Say what belongs in the blank.",
    ),
    BundledPairs(
        "paraphrases",
        "natural_instructions/subtask045_miscellaneous_sentence_paraphrasing",
        "Say the sentence in other words, so that it still answers the question.",
    ),
)
