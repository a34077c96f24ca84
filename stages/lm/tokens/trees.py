"""Token sequences that begin alike as one tree, so that what they share is computed once.

A multiple-choice question is its prompt continued by each of its choices: ` (A)` and ` (B)` share their first token, so
that the tree is

    … is ─ ` (` ─ `A` ─ [`)`]
              └── `B` ─ [`)`]

and training examples that begin alike are a tree in the same way. A node is fed to the model when something is
predicted from it; last tokens (in brackets) are only predicted. The nodes stand in depth-first order; each has the
position of its depth and is visible to its own subtree alone, which `ends` says (see `stages.lm.nn.decoder`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from stages.core.errors import QuestionError
from stages.lm.tokens.continuation import PromptCompletion


@dataclass(frozen=True)
class TargetToken:
    """A token whose log-probability is wanted: predicted at tree index `predictor`."""

    position: int
    token: int


@dataclass(frozen=True)
class TokenTree:
    """What is fed (`tokens`, `positions`, `ends`), what is read off, and which of it each sequence sums.

    `paths[i]` are the indices into `scored` of the tokens that sequence i continues its prompt with. The first `shared`
    tokens are those of a prefix that many trees have in common, and nothing is read off in it.
    """

    tokens: tuple[int, ...]
    positions: tuple[int, ...]
    ends: tuple[int, ...]
    targets: tuple[TargetToken, ...]
    paths: tuple[tuple[int, ...], ...]
    prefix_len: int = 0


@dataclass
class _Builder:
    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    scored: dict[TargetToken, int] = field(default_factory=dict)
    paths: dict[int, list[int]] = field(default_factory=dict)


def token_tree(sequences: Sequence[PromptCompletion]) -> TokenTree:
    """The tree of sequences that have their first token in common."""
    # In one go, since it is most of the work on long lists.
    trunk = _common_prefix_len(sequences)
    build = _Builder(tokens=[*sequences[0].ids[:trunk]], positions=[*range(trunk)], ends=[0] * trunk)
    build.paths = {index: [] for index in range(len(sequences))}
    _grow(build, dict(enumerate(sequences)), trunk)
    build.ends[:trunk] = [len(build.tokens)] * trunk
    return TokenTree(
        tuple(build.tokens),
        tuple(build.positions),
        tuple(build.ends),
        tuple(build.scored),
        tuple(tuple(scored) for _, scored in sorted(build.paths.items())),
    )


def drop_leading(tree: TokenTree, count: int, kept: int) -> TokenTree:
    """The tree without the `count` tokens behind its first `kept` ones (a begin token).

    Raises:
        QuestionError: not so many stand before the first token that anything is predicted from.
    """
    left = kept + count
    if left > min(scored.position for scored in tree.targets):
        raise QuestionError("its choices alone fill the model's window")

    return TokenTree(
        (*tree.tokens[:kept], *tree.tokens[left:]),
        (*tree.positions[:kept], *(position - count for position in tree.positions[left:])),
        tuple(end - count for end in (*tree.ends[:kept], *tree.ends[left:])),
        tuple(TargetToken(scored.position - count, scored.token) for scored in tree.targets),
        tree.paths,
    )


def _common_prefix_len(sequences: Sequence[PromptCompletion]) -> int:
    """How many tokens all sequences begin with, of those that are fed and not scored: nearly all of a prompt."""
    least = min(min(one.prompt_len, len(one.ids) - 1) for one in sequences)
    beginnings = zip(*(one.ids[:least] for one in sequences), strict=True)
    return next((index for index, tokens in enumerate(beginnings) if len(set(tokens)) > 1), least)


def _grow(build: _Builder, sequences: dict[int, PromptCompletion], depth: int) -> None:
    """Adds the nodes at `depth` and below, for sequences that agree before it."""
    opened: list[int] = []
    # The shared trunk is a loop and only a fork recurses, since a prompt may have thousands of tokens.
    while len(groups := _by_token(sequences, depth)) == 1:
        [(token, group)] = groups.items()
        _score(build, group, depth, token)
        sequences = {index: sequence for index, sequence in group.items() if len(sequence.ids) > depth + 1}
        if not sequences:
            break
        opened.append(_add_node(build, token, depth))
        depth += 1
    else:
        predictor = len(build.tokens) - 1
        for token, group in groups.items():
            _grow_branch(build, group, depth, token, predictor)
    for node in opened:
        build.ends[node] = len(build.tokens)


def _grow_branch(build: _Builder, group: dict[int, PromptCompletion], depth: int, token: int, predictor: int) -> None:
    _score(build, group, depth, token, predictor)
    longer = {index: sequence for index, sequence in group.items() if len(sequence.ids) > depth + 1}
    if longer:
        node = _add_node(build, token, depth)
        _grow(build, longer, depth + 1)
        build.ends[node] = len(build.tokens)


def _by_token(sequences: dict[int, PromptCompletion], depth: int) -> dict[int, dict[int, PromptCompletion]]:
    groups: dict[int, dict[int, PromptCompletion]] = {}
    for index, sequence in sequences.items():
        groups.setdefault(sequence.ids[depth], {})[index] = sequence
    return groups


def _score(
    build: _Builder, group: dict[int, PromptCompletion], depth: int, token: int, predictor: int | None = None
) -> None:
    scoring = [index for index, sequence in group.items() if depth >= sequence.prompt_len]
    if not scoring:
        return
    scored = TargetToken(len(build.tokens) - 1 if predictor is None else predictor, token)
    place = build.scored.setdefault(scored, len(build.scored))
    for index in scoring:
        build.paths[index].append(place)


def _add_node(build: _Builder, token: int, depth: int) -> int:
    build.tokens.append(token)
    build.positions.append(depth)
    build.ends.append(0)
    return len(build.tokens) - 1
