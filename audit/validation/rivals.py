"""Trivial rivals of the scores, on the same records: length, loss, random directions, the words of the answers.

A score that does not beat them has found nothing of its own. Each gives numbers per labelled record, NaN where there is
none; for more records than is useful a seeded part is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.bag_of_words import fit_bag_of_words
from audit.query import read_batches, run_query
from audit.schema import RANDOM_DIRECTIONS, SCORED_SIDES
from audit.store import RunStore
from audit.texts import open_inputs, read_answers
from audit.validation.labels import SHOWN, UNLABELLED

Floats = NDArray[np.float64]

MOST_DIRECTION_ROWS = 200_000
MOST_WORD_ROWS = 8_000
MOST_WORDS = 4_000
MOST_TEXT_CHARS = 20_000
"""What a rival looks at: more says the same, and takes memory and time."""

LEAST_OF_A_KIND = 5
"""Records that show a trait, and that do not, which each half needs for a bag of words."""

_LENGTH_AND_LOSS = """SELECT sample_id, n_response_tokens::DOUBLE AS length, loss FROM sample_scores
    LEFT JOIN (SELECT sample_id, avg(response_nll) AS loss FROM turns
        WHERE part = 'answer' AND side IN ('response', 'chosen') GROUP BY sample_id) AS turn USING (sample_id)"""


@dataclass(frozen=True, slots=True, eq=False)
class WordRival:
    """Logits of a bag of words for the half of the records that it was not trained on; NaN for all others."""

    logits: Mapping[str, Floats]
    n_trained: int


def measure_length_and_loss(connection: duckdb.DuckDBPyConnection, place_n: NDArray[np.int64]) -> dict[str, Floats]:
    """Return tokens of the answers and their mean loss, [m] each.

    Args:
        place_n: [n samples] place of each record among the labels, −1 where it has none.
    """
    n_labelled = int((place_n >= 0).sum())
    found = {"length": np.full(n_labelled, np.nan), "loss": np.full(n_labelled, np.nan)}
    for batch in read_batches(run_query(connection, _LENGTH_AND_LOSS), batch_rows=100_000):
        places = place_n[batch["sample_id"].to_numpy()]
        own = places >= 0
        for name, values in found.items():
            values[places[own]] = batch[name].to_numpy(zero_copy_only=False).astype(np.float64)[own]
    return found


def project_random_directions(store: RunStore, place_n: NDArray[np.int64], *, seed: int) -> Floats | None:
    """Return the records' stored differences along 32 random directions, [m, 32]; None where none are stored.

    As for a trait, a record has the largest of its answers. Directions are isotropic in the space of what is stored.
    """

    def read(table: pa.Table) -> Floats:
        vectors = table["difference"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        vectors_nr = vectors.astype(np.float64).reshape(table.num_rows, -1)
        directions_rd = np.random.default_rng([seed, vectors_nr.shape[1]]).standard_normal(
            (vectors_nr.shape[1], RANDOM_DIRECTIONS)
        )
        return np.asarray(vectors_nr @ directions_rd)

    return _read_largest(store, "differences", ["difference"], read, place_n)


def read_random_evidence(store: RunStore, place_n: NDArray[np.int64]) -> Floats | None:
    """Return the records' evidence along the 32 random directions of the scan, [m, 32]; None where none is stored.

    In units of what the model's own draws have along these directions in the same turn, as z is for a trait.
    """

    def read(table: pa.Table) -> Floats:
        evidence_nd, null_nd = (
            table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)
            for name in ("evidence", "null_evidence")
        )
        spread_n = np.sqrt(np.mean(null_nd.astype(np.float64) ** 2, axis=1))
        spread_n[spread_n == 0] = np.nan
        return np.asarray(evidence_nd / spread_n[:, None], dtype=np.float64)

    return _read_largest(store, "random_evidence", ["evidence", "null_evidence"], read, place_n)


def _read_largest(
    store: RunStore,
    table_name: str,
    columns: list[str],
    read: Callable[[pa.Table], Floats],
    place_n: NDArray[np.int64],
) -> Floats | None:
    """Return the largest value of each labelled record over its counted answers, per direction."""
    n_labelled = int((place_n >= 0).sum())
    largest = np.full((n_labelled, RANDOM_DIRECTIONS), -np.inf, dtype=np.float32)
    for part in store.parts():
        path = store.table_path(table_name, part)
        if not path.is_file():
            continue
        table = pq.read_table(path, columns=["sample_id", "side", "part", *columns])
        is_counted = pc.and_(pc.is_in(table["side"], pa.array(SCORED_SIDES)), pc.equal(table["part"], "answer"))
        places = place_n[table["sample_id"].to_numpy()]
        table = table.filter(pc.and_(is_counted, pa.array(places >= 0)))
        if table.num_rows:
            np.maximum.at(largest, place_n[table["sample_id"].to_numpy()], np.nan_to_num(read(table), nan=-np.inf))
    has_none = np.isneginf(largest)
    return None if has_none.all() else np.where(has_none, np.nan, largest)


def choose_part(n_labelled: int, most: int, *, seed: int) -> NDArray[np.int64]:
    """Return the places of at most so many labelled records, in order."""
    if n_labelled <= most:
        return np.arange(n_labelled)
    return np.sort(np.random.default_rng([seed, n_labelled]).choice(n_labelled, most, replace=False))


def train_words(
    manifest: Mapping[str, Any], sample_ids: NDArray[np.int64], shown: Mapping[str, NDArray[np.int8]], *, seed: int
) -> WordRival:
    """Train a bag of words on a seeded half of labelled records and read the other half with it.

    Raises:
        MissingDataError, DataError: the texts are not to be had.
    """
    chosen = choose_part(sample_ids.size, MOST_WORD_ROWS, seed=seed)
    wanted = {int(sample_ids[place]): place for place in chosen}
    texts: dict[int, str] = {}
    for sample_id, answers in read_answers(open_inputs(manifest), manifest, wanted.keys()):
        text = "\n".join(answer.text for answer in answers)[:MOST_TEXT_CHARS]
        if text.strip():
            texts[wanted[sample_id]] = text
    places = np.array(sorted(texts), dtype=np.int64)
    is_trained = np.random.default_rng([seed, places.size]).permutation(places.size) < places.size // 2
    logits = dict(_train_each(texts, places, is_trained, shown, sample_ids.size))
    return WordRival(logits, int(is_trained.sum()))


def _train_each(
    texts: Mapping[int, str],
    places: NDArray[np.int64],
    is_trained: NDArray[np.bool_],
    shown: Mapping[str, NDArray[np.int8]],
    n: int,
) -> Iterator[tuple[str, Floats]]:
    # Traits that the same rows are labelled for are trained together, which costs as much as one.
    groups: dict[bytes, list[str]] = {}
    for trait, own in shown.items():
        known = own[places] != UNLABELLED
        halves = [own[places][known & half] for half in (is_trained, ~is_trained)]
        if all(min((half == SHOWN).sum(), (half != SHOWN).sum()) >= LEAST_OF_A_KIND for half in halves):
            groups.setdefault(known.tobytes(), []).append(trait)
    for mask, traits in groups.items():
        known = np.frombuffer(mask, dtype=bool)
        train, test = places[known & is_trained], places[known & ~is_trained]
        labels_nk = np.stack([shown[trait][train] == SHOWN for trait in traits], axis=1)
        own_texts = [[texts[place] for place in half] for half in (train.tolist(), test.tolist())]
        logits_nk = fit_bag_of_words(own_texts[0], labels_nk, own_texts[1], most_words=MOST_WORDS)
        for k, trait in enumerate(traits):
            values = np.full(n, np.nan)
            values[test] = logits_nk[:, k]
            yield trait, values
