"""The texts of a run's records, read from the dataset that was scanned: answers that count, with their prompts.

A run holds no texts. Where the dataset is gone or has changed since, that is an error, never a text of something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from audit.errors import DataError
from audit.inputs import Inputs, read_chosen
from audit.samples import Message, Source, hash_source
from audit.schema import SCORED_SIDES


@dataclass(frozen=True, slots=True)
class CountedAnswer:
    """An answer that training pushes towards, and the conversation before it."""

    side: str
    turn: int
    prompt: tuple[Message, ...]
    text: str


def open_inputs(manifest: Mapping[str, Any]) -> Inputs:
    """Return the inputs of a run as its scan found them.

    Raises:
        MissingDataError: a source is gone.
        DataError: one has changed since the scan.
    """
    sources = tuple(Source.restore(entry) for entry in manifest["inputs"])
    for source in sources:
        if hash_source(source, cure="texts are read from where the scan found them") != source.sha256:
            raise DataError(source.path, "has changed since the scan", "bring back the file that was scanned")
    return Inputs(sources, sum(source.n_records for source in sources))


def read_answers(
    inputs: Inputs, manifest: Mapping[str, Any], sample_ids: Set[int]
) -> Iterator[tuple[int, list[CountedAnswer]]]:
    """Yield the answers of records that count for their flags, in the order of the data; of some there may be none."""
    turns = str(manifest["config"].get("turns", "all"))
    for sample in read_chosen(inputs, sample_ids, turns=turns):
        yield (
            sample.sample_id,
            [
                CountedAnswer(turn.side, turn.turn, turn.prompt, turn.response)
                for turn in sample.turns
                if turn.side in SCORED_SIDES and turn.part == "answer" and turn.unscored is None
            ],
        )
