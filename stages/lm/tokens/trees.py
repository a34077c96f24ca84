"""Token trees: sequences with a common beginning share its nodes, so that it is computed once.

A multiple-choice question is its prompt followed by each of its choices. ` (A)` and ` (B)` share their first token, so
the tree is

    … is ─ ` (` ─ `A` ─ [`)`]
              └── `B` ─ [`)`]

Training examples with a common beginning form a tree in the same way. A token is an input of the model, and a node, if
another token is predicted from it; last tokens (in brackets) are only targets. Nodes are in depth-first order. The
position of a node is its depth, and only its own subtree attends to it: its end in the interval mask (`ends`, see
`stages.lm.nn.decoder`) is one past the subtree.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from stages.core.errors import QuestionError
from stages.lm.tokens.continuation import PromptCompletion


@dataclass(frozen=True)
class TargetToken:
    """A token whose log-probability is computed, predicted from the node at tree index `position`."""

    position: int
    token: int


@dataclass(frozen=True)
class TokenTree:
    """The inputs of the model (`tokens`, `positions`, `ends`), the targets, and the targets of each sequence.

    `paths[i]` are the indices into `targets` of the tokens of sequence i after its prompt. The first `prefix_len`
    tokens are a prefix that many trees share; no target is predicted from them.
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
    targets: dict[TargetToken, int] = field(default_factory=dict)
    paths: dict[int, list[int]] = field(default_factory=dict)


def token_tree(sequences: Sequence[PromptCompletion]) -> TokenTree:
    """The tree of sequences that have their first token in common."""
    # The common prefix is added in one step, because it is most of the work on long prompts.
    prefix_len = _common_prefix_len(sequences)
    build = _Builder(tokens=[*sequences[0].ids[:prefix_len]], positions=[*range(prefix_len)], ends=[0] * prefix_len)
    build.paths = {index: [] for index in range(len(sequences))}
    _add_subtree(build, dict(enumerate(sequences)), prefix_len)
    build.ends[:prefix_len] = [len(build.tokens)] * prefix_len
    return TokenTree(
        tuple(build.tokens),
        tuple(build.positions),
        tuple(build.ends),
        tuple(build.targets),
        tuple(tuple(path) for _, path in sorted(build.paths.items())),
    )


def drop_leading(tree: TokenTree, count: int, begin_tokens: int) -> TokenTree:
    """The tree without the first `count` tokens after its `begin_tokens` leading special tokens.

    Raises:
        QuestionError: a target is predicted from one of the tokens to drop.
    """
    stop = begin_tokens + count
    if stop > min(target.position for target in tree.targets):
        raise QuestionError("its choices alone fill the model's window")

    return TokenTree(
        (*tree.tokens[:begin_tokens], *tree.tokens[stop:]),
        (*tree.positions[:begin_tokens], *(position - count for position in tree.positions[stop:])),
        tuple(end - count for end in (*tree.ends[:begin_tokens], *tree.ends[stop:])),
        tuple(TargetToken(target.position - count, target.token) for target in tree.targets),
        tree.paths,
    )


def _common_prefix_len(sequences: Sequence[PromptCompletion]) -> int:
    """The length of the sequences' common prefix, of tokens that are inputs and not targets: nearly all of a prompt."""
    limit = min(min(sequence.prompt_len, len(sequence.ids) - 1) for sequence in sequences)
    columns = zip(*(sequence.ids[:limit] for sequence in sequences), strict=True)
    return next((index for index, tokens in enumerate(columns) if len(set(tokens)) > 1), limit)


def _add_subtree(build: _Builder, sequences: dict[int, PromptCompletion], depth: int) -> None:
    """Adds the nodes at `depth` and below, for sequences that are equal up to `depth`."""
    open_nodes: list[int] = []
    # Only a fork recurses, and a common run of tokens is a loop: it may have thousands of tokens.
    while len(groups := _by_token(sequences, depth)) == 1:
        [(token, group)] = groups.items()
        _add_target(build, group, depth, token)
        sequences = {index: sequence for index, sequence in group.items() if len(sequence.ids) > depth + 1}
        if not sequences:
            break
        open_nodes.append(_add_node(build, token, depth))
        depth += 1
    else:
        position = len(build.tokens) - 1
        for token, group in groups.items():
            _add_branch(build, group, depth, token, position)
    for node in open_nodes:
        build.ends[node] = len(build.tokens)


def _add_branch(build: _Builder, group: dict[int, PromptCompletion], depth: int, token: int, position: int) -> None:
    _add_target(build, group, depth, token, position)
    longer = {index: sequence for index, sequence in group.items() if len(sequence.ids) > depth + 1}
    if longer:
        node = _add_node(build, token, depth)
        _add_subtree(build, longer, depth + 1)
        build.ends[node] = len(build.tokens)


def _by_token(sequences: dict[int, PromptCompletion], depth: int) -> dict[int, dict[int, PromptCompletion]]:
    groups: dict[int, dict[int, PromptCompletion]] = {}
    for index, sequence in sequences.items():
        groups.setdefault(sequence.ids[depth], {})[index] = sequence
    return groups


def _add_target(
    build: _Builder, group: dict[int, PromptCompletion], depth: int, token: int, position: int | None = None
) -> None:
    """Adds `token` as a target of sequences that are past their prompt; predicted from the last node by default."""
    past_prompt = [index for index, sequence in group.items() if depth >= sequence.prompt_len]
    if not past_prompt:
        return
    target = TargetToken(len(build.tokens) - 1 if position is None else position, token)
    target_index = build.targets.setdefault(target, len(build.targets))
    for index in past_prompt:
        build.paths[index].append(target_index)


def _add_node(build: _Builder, token: int, depth: int) -> int:
    build.tokens.append(token)
    build.positions.append(depth)
    build.ends.append(0)
    return len(build.tokens) - 1
