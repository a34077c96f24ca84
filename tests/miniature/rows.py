"""Invented rows in the form of BIG-bench's JSON tasks: a few words in all combinations, and no row of a real set."""

from collections.abc import Iterator
from itertools import product
from typing import Any

Row = dict[str, Any]

_WHO = ("the baker", "my aunt", "the captain", "your neighbour", "the painter", "our coach", "the miller", "a guest")
_DID = (
    ("repair the kettle", "It whistles again.", "The pieces are still on the bench."),
    ("find the red umbrella", "Somebody stayed dry today.", "Look at those wet sleeves."),
    ("finish the puzzle", "The box went back to the shelf.", "One corner is still missing."),
    ("feed the geese", "They are asleep and round.", "Listen to that noise at the gate."),
    ("lock the boathouse", "The key hangs on its nail.", "The door swings in the wind."),
    ("catch the ferry", "There is a postcard from the island.", "Dinner was eaten at the pier."),
)

_ASKED = {
    "get_weather": ("will it hail in {}", "how windy is it in {} at dawn", "do I need boots in {}"),
    "book_restaurant": ("reserve a table for five in {}", "book a place with soup in {}", "get us a lunch table in {}"),
    "play_music": ("play a march from {}", "put on that waltz from {}", "play anything sung in {}"),
}
_TOWNS = ("Oberlund", "Port Welby", "Castra", "Low Fenwick", "Marrowdale", "Tillingen")

_METAPHORS = {
    "Her desk was a battlefield": ("Her desk was in great disorder", "Her desk was made of iron"),
    "The meeting was a long desert": ("The meeting was dull and seemed endless", "The meeting took place on sand"),
    "His voice was gravel": ("His voice was rough", "His voice was cheerful and high"),
    "The town is a sleeping cat": ("The town is quiet", "The town is full of mice"),
    "That letter was a stone in my shoe": ("That letter bothered me", "That letter was too heavy to post"),
    "The new rule is a leaking roof": ("The new rule protects badly", "The new rule is made by carpenters"),
    "Our plan was a house of straw": ("Our plan was fragile", "Our plan was to build a barn"),
    "The orchestra was one animal": ("The orchestra moved as one", "The orchestra played for a zoo"),
    "Sunday is a warm bath": ("Sunday is restful", "Sunday is the day to wash"),
    "His memory is a sieve": ("He forgets most things", "He cooks with great care"),
    "The exam was a locked gate": ("The exam kept people out", "The exam was held in a garden"),
    "Rumour is a fast horse": ("Rumour spreads quickly", "Rumour is about stables"),
    "The attic was a museum": ("The attic was full of old things", "The attic sold tickets"),
    "Her laugh is a doorbell": ("Her laugh is short and bright", "Her laugh is heard by the postman only"),
    "The budget is a short blanket": ("The budget cannot cover it all", "The budget is for bedding"),
    "Grandfather was an oak": ("Grandfather was strong", "Grandfather stood in a forest"),
    "The market was a beehive": ("The market was busy", "The market sold honey only"),
    "Her advice was a lantern": ("Her advice helped to see the way", "Her advice was about oil"),
    "The old bus was a snail": ("The old bus was slow", "The old bus lived in a shell"),
    "That summer was an oven": ("That summer was very hot", "That summer was spent baking"),
}  # fmt: skip

_THINGS = ("a lever", "a mirror", "a magnet", "a sponge", "a candle", "a compass", "a sail", "a spring")
_DOES = (("moves a weight", "weight"), ("turns back light", "light"), ("holds water", "water"))


def _implicatures() -> Iterator[Row]:
    for number, (who, (did, yes, no)) in enumerate(product(_WHO, _DID)):
        is_yes = number % 2 == 0
        text = f"Speaker 1: 'Did {who} {did}?' Speaker 2: '{yes if is_yes else no}'"
        yield _choice(text, "yes" if is_yes else "no", ("yes", "no"))


def _intents() -> Iterator[Row]:
    for town, (intent, asked) in product(_TOWNS, _ASKED.items()):
        for text in asked:
            yield _choice(f"Utterance: {text.format(town)}", intent, tuple(_ASKED))


def _metaphors() -> Iterator[Row]:
    for metaphor, readings in _METAPHORS.items():
        for reading, label in zip(readings, ("True", "False"), strict=True):
            yield _choice(f"{metaphor} <--> {reading}.", label, ("True", "False"))


def _answers() -> Iterator[Row]:
    for thing, (does, target) in product(_THINGS, _DOES):
        yield {
            "input": f"Fact: {thing} {does} in this story.\nQuestion: What has {thing} to do with?",
            "target": target,
        }


def _paraphrases() -> Iterator[Row]:
    for thing, (does, _) in product(_THINGS, _DOES):
        yield {"input": f"Sentence: {thing} {does}. Question: What does {thing} do?", "target": [f"It {does}."]}


def _choice(text: str, best: str, options: tuple[str, ...]) -> Row:
    return {"input": text, "target_scores": {option: float(option == best) for option in options}}


# By the task's folder in the archive.
TASKS = {
    "implicatures": [*_implicatures()],
    "intent_recognition": [*_intents()],
    "metaphor_boolean": [*_metaphors()],
    "natural_instructions/subtask041_qasc_answer_generation": [*_answers()],
    "natural_instructions/subtask045_miscellaneous_sentence_paraphrasing": [*_paraphrases()],
}
