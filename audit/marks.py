"""The marks of a run's records, one row each: what may explain a score without any trait, gathered from the turns.

Gathered part group by part group, so memory does not grow with the run. What the marks say of the scores is another
question, see `confound`.
"""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.query.relations import quote_text
from audit.schema import MARKS, SCORED_SIDES, SCORED_STATUSES
from audit.store import ROW_GROUP_ROWS, RunStore, replacing
from audit.wide import query_stretches


def write_marks(store: RunStore) -> None:
    """Write `marks.parquet`: a row for every record with a scored answer that is trained towards, rising.

    Raises:
        RunError: a file of the run is damaged.
    """
    with (
        replacing(store.path / "marks.parquet") as unfinished,
        pq.ParquetWriter(unfinished, MARKS, compression="zstd", use_dictionary=["language"]) as writer,
        closing(query_stretches(store, _SELECT)) as tables,
    ):
        for table in tables:
            writer.write_table(table.select(MARKS.names).cast(MARKS), row_group_size=ROW_GROUP_ROWS)


def read_marks(store: RunStore, sample_ids: NDArray[np.int64]) -> tuple[NDArray[np.object_], NDArray[np.float64]]:
    """Return each record's language (None where none is known) and mean response length (NaN without an answer).

    Args:
        sample_ids: all records of the run, rising.
    """
    language_n = np.full(len(sample_ids), None, dtype=object)
    n_tokens_n = np.full(len(sample_ids), np.nan)
    with pq.ParquetFile(store.path / "marks.parquet") as file:
        wanted = ["sample_id", "language", "n_response_tokens"]
        for batch in file.iter_batches(ROW_GROUP_ROWS, columns=wanted):
            places = np.searchsorted(sample_ids, batch["sample_id"].to_numpy())
            # By their codes, so that a language is one text in memory, not ten million.
            encoded = batch["language"].dictionary_encode()
            names = np.asarray([*encoded.dictionary.to_pylist(), None], dtype=object)
            language_n[places] = names[encoded.indices.fill_null(len(names) - 1).to_numpy(zero_copy_only=False)]
            n_tokens_n[places] = batch["n_response_tokens"].to_numpy(zero_copy_only=False)
    return language_n, n_tokens_n


_SIDES = ", ".join(quote_text(side) for side in SCORED_SIDES)
_STATUSES = ", ".join(quote_text(status) for status in SCORED_STATUSES)
_SELECT = f"""
    WITH answer AS (
        SELECT * FROM turns WHERE part = 'answer' AND side IN ({_SIDES}) AND status IN ({_STATUSES})
    ),
    -- Of two languages that are as common, the one that is spoken first.
    spoken AS (
        SELECT sample_id, language, row_number() OVER (
            PARTITION BY sample_id ORDER BY count(*) DESC, min(turn), language
        ) AS place
        FROM answer WHERE language IS NOT NULL GROUP BY sample_id, language
    ),
    mark AS (
        SELECT sample_id, count(*)::INTEGER AS n_scored_turns,
            round(avg(n_response_tokens))::INTEGER AS n_response_tokens,
            round(avg(n_baseline_tokens))::INTEGER AS n_baseline_tokens,
            bool_or(is_refusal) AS is_refusal, bool_or(baseline_is_refusal) AS baseline_is_refusal,
            bool_or(is_role_play) AS is_role_play, avg(list_share)::FLOAT AS list_share,
            avg(code_share)::FLOAT AS code_share, avg(response_nll)::FLOAT AS response_nll
        FROM answer GROUP BY sample_id
    )
    SELECT mark.*, spoken.language
    FROM mark LEFT JOIN spoken ON spoken.sample_id = mark.sample_id AND spoken.place = 1
    ORDER BY mark.sample_id
"""
