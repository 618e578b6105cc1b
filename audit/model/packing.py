"""Sequences laid end to end for one forward pass without padding, with what they share computed once.

The sequences of a group (a prompt with its response and the baseline, all turns of a conversation) become a tree of
segments: a token attends to the segments above it and to what stands before it in its own. How a group is laid out
depends on the group alone, never on its neighbours. Knows token ids, not models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive tokens [start, stop) of a pack; `above` are the segments they go on from, the first one first."""

    start: int
    stop: int
    above: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences that share what they begin with, given by their positions; `wanted` are those that are laid out.

    The others still decide where segments begin, so that a sequence gives the same numbers whoever is wanted with it.
    """

    members: tuple[int, ...]
    wanted: tuple[int, ...]

    def split(self) -> list[Group]:
        """Return one group for each sequence that is wanted."""
        return [Group(self.members, (position,)) for position in self.wanted]


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """Groups laid end to end.

    Attributes:
        ids: int64 [t].
        positions: int64 [t], of each token in its own sequence.
        segments: in order; together they are all tokens.
        places: for every sequence of the pack, where its tokens lie: int64 [its length].
    """

    ids: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    segments: tuple[Segment, ...]
    places: dict[int, npt.NDArray[np.int64]]


@dataclass(slots=True)
class _Node:
    ids: Ids
    children: list[_Node] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


def pack_groups(sequences: Sequence[Ids], groups: Sequence[Group], *, n_least: int = 0, multiple: int = 1) -> Pack:
    """Lay out groups of sequences; none of them is empty.

    A pack of fewer than `n_least` tokens ends with tokens that belong to no sequence: libraries multiply a few rows in
    another way than many, so that a small pack would give other numbers than a large one. So does one that is not a
    `multiple` of what kernels cut it into.
    """
    layout = _Layout(sequences)
    for group in groups:
        layout.add(group)
    return layout.finish(n_least, multiple)


def count_tokens(sequences: Sequence[Ids], group: Group) -> int:
    """Return how many tokens a group takes when what its sequences share is laid out once."""
    return sum(len(node.ids) for root in _build_tree(sequences, group) for node in _walk(root))


class _Layout:
    def __init__(self, sequences: Sequence[Ids]) -> None:
        self._sequences = sequences
        self._n_tokens = 0
        self._ids: list[Ids] = []
        self._positions: list[npt.NDArray[np.int64]] = []
        self._segments: list[Segment] = []
        self._places: dict[int, npt.NDArray[np.int64]] = {}

    def add(self, group: Group) -> None:
        for root in _build_tree(self._sequences, group):
            self._place(root, ())

    def _place(self, root: _Node, above: tuple[Span, ...]) -> None:
        waiting = [(root, above)]
        while waiting:
            node, spans = waiting.pop()
            start = self._n_tokens
            stop = start + len(node.ids)
            depth = sum(end - begin for begin, end in spans)
            self._ids.append(node.ids)
            self._positions.append(np.arange(depth, depth + len(node.ids)))
            self._segments.append(Segment(start, stop, spans))
            self._n_tokens = stop
            path = (*spans, (start, stop))
            for sequence in node.ends:
                self._places[sequence] = np.concatenate([np.arange(begin, end) for begin, end in path])
            waiting += [(child, path) for child in reversed(node.children)]

    def finish(self, n_least: int, multiple: int) -> Pack:
        n_tokens = -(-max(n_least, self._n_tokens) // multiple) * multiple
        if self._n_tokens < n_tokens:
            self._place(_Node(np.zeros(n_tokens - self._n_tokens, dtype=np.int32)), ())
        return Pack(
            ids=np.concatenate(self._ids).astype(np.int64),
            positions=np.concatenate(self._positions),
            segments=tuple(self._segments),
            places=self._places,
        )


def _build_tree(sequences: Sequence[Ids], group: Group) -> list[_Node]:
    top = _Node(np.zeros(0, dtype=np.int32))
    for position in group.members:
        _insert(top.children, sequences[position], position)
    # Children before what is above them.
    for node in reversed(list(_walk(top))):
        node.ends = [position for position in node.ends if position in group.wanted]
        node.children = [child for child in node.children if child.ends or child.children]
    return top.children


def _insert(nodes: list[_Node], ids: Ids, position: int) -> None:
    """Put a sequence into a tree, splitting the node at which it departs from what is there."""
    while True:
        node = next((node for node in nodes if node.ids[0] == ids[0]), None)
        if node is None:
            nodes.append(_Node(ids, ends=[position]))
            return
        n_shared = _count_shared(node.ids, ids)
        if n_shared < len(node.ids):
            node.children = [_Node(node.ids[n_shared:], node.children, node.ends)]
            node.ids, node.ends = node.ids[:n_shared], []
        if n_shared == len(ids):
            node.ends.append(position)
            return
        nodes, ids = node.children, ids[n_shared:]


def _count_shared(first: Ids, second: Ids) -> int:
    length = min(len(first), len(second))
    differing = np.flatnonzero(first[:length] != second[:length])
    return int(differing[0]) if differing.size else length


def _walk(root: _Node) -> Iterator[_Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.children
