"""Packs hold every sequence once, with what a group shares laid out once, whatever the sequences look like."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from audit.model.packing import Group, count_tokens, pack_groups

sequences = st.lists(st.integers(0, 2), min_size=1, max_size=8)
groups = st.lists(st.lists(sequences, min_size=1, max_size=4), min_size=1, max_size=4)


def whole(*members: int) -> Group:
    return Group(members, members)


@given(drawn=groups)
def test_every_token_attends_to_its_own_sequence_and_to_no_other(drawn: list[list[list[int]]]) -> None:
    ids = [np.asarray(sequence, dtype=np.int32) for group in drawn for sequence in group]
    ends = np.cumsum([len(group) for group in drawn])
    members = [whole(*range(end - len(group), end)) for group, end in zip(drawn, ends, strict=True)]
    pack = pack_groups(ids, members)
    assert set(pack.places) == set(range(len(ids)))
    # What a token sees: the spans above its segment, and its segment up to itself.
    seen = {
        token: [place for begin, end in segment.above for place in range(begin, end)]
        + list(range(segment.start, token + 1))
        for segment in pack.segments
        for token in range(segment.start, segment.stop)
    }
    assert sorted(seen) == list(range(len(pack.ids)))
    for position, own in enumerate(ids):
        places = pack.places[position]
        assert pack.ids[places].tolist() == own.tolist()
        assert pack.positions[places].tolist() == list(range(len(own)))
        for depth, token in enumerate(places):
            assert seen[int(token)] == places[: depth + 1].tolist()
    distinct = {(k, tuple(own[:n])) for k, group in enumerate(drawn) for own in group for n in range(1, len(own) + 1)}
    assert len(pack.ids) == len(distinct) == sum(count_tokens(ids, group) for group in members)


@given(group=st.lists(sequences, min_size=1, max_size=4), before=sequences)
def test_a_group_is_laid_out_alike_beside_any_neighbour(group: list[list[int]], before: list[int]) -> None:
    ids = [np.asarray(sequence, dtype=np.int32) for sequence in (before, *group)]
    own = list(range(1, len(ids)))
    alone, beside = pack_groups(ids, [whole(*own)]), pack_groups(ids, [whole(0), whole(*own)])
    shift = len(before)
    assert [(s.start + shift, s.stop + shift) for s in alone.segments] == [
        (s.start, s.stop) for s in beside.segments[1:]
    ]
    assert all((alone.places[n] + shift).tolist() == beside.places[n].tolist() for n in own)


@given(drawn=groups, n_least=st.integers(0, 40))
def test_a_small_pack_is_filled_up_with_tokens_of_nobody(drawn: list[list[list[int]]], n_least: int) -> None:
    ids = [np.asarray(sequence, dtype=np.int32) for group in drawn for sequence in group]
    everything = whole(*range(len(ids)))
    pack, filled = pack_groups(ids, [everything]), pack_groups(ids, [everything], n_least=n_least)
    assert len(filled.ids) == max(len(pack.ids), n_least)
    assert filled.segments[: len(pack.segments)] == pack.segments
    assert all(filled.places[n].tolist() == pack.places[n].tolist() for n in pack.places)


@given(group=st.lists(sequences, min_size=1, max_size=4))
def test_a_sequence_of_a_group_is_laid_out_alone_in_the_segments_of_the_whole_group(group: list[list[int]]) -> None:
    ids = [np.asarray(sequence, dtype=np.int32) for sequence in group]
    together = pack_groups(ids, [whole(*range(len(ids)))])

    def segment_lengths(places: np.ndarray) -> list[int]:
        return [s.stop - s.start for s in together.segments if s.start in places]

    for position, part in enumerate(whole(*range(len(ids))).split()):
        alone = pack_groups(ids, [part])
        assert alone.ids.tolist() == group[position]
        assert list(alone.places) == [position]
        assert [s.stop - s.start for s in alone.segments] == segment_lengths(together.places[position])
        assert count_tokens(ids, part) == len(group[position])
