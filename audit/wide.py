"""The wide table of a run, one row per record: what queries, flags and verdicts read instead of the long tables.

Made in two steps, as flags need every score: the scores of each record are gathered part by part, and the finished
table adds what was found. Memory does not grow with the run, apart from one byte per record and trait.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.ahead import iterate_ahead
from audit.query import open_connection
from audit.query.relations import PREDICTED, list_manifest_traits, quote_text, score_kind
from audit.reference import LengthFit, TraitRisks, TraitScores
from audit.risk import Moments
from audit.schema import SCORED_SIDES, sample_scores_schema
from audit.store import ROW_GROUP_ROWS, Part, RunStore, replacing

_Number = TypeVar("_Number", np.int64, np.float64)

_GATHERED_ROWS = 122_880
"""Records that are gathered at a time."""


def gather_scores(store: RunStore, manifest: Mapping[str, Any], path: Path) -> None:
    """Write the wide table of a run's parts to `path`, in the order of the records, without any findings.

    Raises:
        RunError: a file of the run is damaged.
    """
    schema = sample_scores_schema(list_manifest_traits(manifest))
    tables = query_stretches(store, "SELECT * FROM sample_scores ORDER BY sample_id")
    with _open_writer(path, schema) as writer, closing(tables):
        for table in tables:
            writer.write_table(table.cast(schema), row_group_size=ROW_GROUP_ROWS)


def gather_risks(
    store: RunStore,
    manifest: Mapping[str, Any],
    path: Path,
    *,
    moments: Mapping[str, Moments] | None,
    lengths: Mapping[str, LengthFit],
) -> None:
    """Write what a run knows of each record beside its scores, in the order of the wide table; see `TraitRisks`.

    Args:
        moments: by trait, what the combined score is standardised with; None: flags are made from plain scores.
        lengths: by trait, what the lengths of a turn explain of the score that flags are made from, where it is known.
    """
    traits = list_manifest_traits(manifest)
    query = _select_risks(traits, score_kind(manifest), moments, lengths)
    schema = pa.schema([pa.field(f"{name}_{k}", pa.float32()) for k in range(len(traits)) for name in _RISKS])
    tables = query_stretches(store, query)
    with _open_writer(path, schema) as writer, closing(tables):
        for table in tables:
            writer.write_table(table.select(schema.names).cast(schema), row_group_size=ROW_GROUP_ROWS)


_RISKS = ("orthogonal", "window", "layer", "evidence_z", "risk", "adjusted")


def _select_risks(
    traits: Sequence[str], kind: str, moments: Mapping[str, Moments] | None, lengths: Mapping[str, LengthFit]
) -> str:
    plain = "projection" if kind == "projection" else "projection_difference"
    columns = []
    for k, trait in enumerate(traits):
        risk = _risk(moments[trait]) if moments else "NULL::DOUBLE"
        score = risk if moments else f"{plain}::DOUBLE"
        measured = {
            "orthogonal": "orthogonal_difference",
            "window": "window_difference",
            "layer": "layer_difference",
            "evidence_z": "evidence_z",
            "risk": risk,
            "adjusted": f"{score} - ({_expected(lengths[trait])})" if trait in lengths else "NULL::DOUBLE",
        }
        columns += [
            f"(max({measured[name]}) FILTER (trait = {quote_text(trait)}))::FLOAT AS {name}_{k}" for name in _RISKS
        ]
    sides = ", ".join(quote_text(side) for side in SCORED_SIDES)
    scores = "scores JOIN turns USING (sample_id, side, turn, part)" if lengths else "scores"
    return f"""
        SELECT record.sample_id, turn.* EXCLUDE sample_id FROM samples AS record LEFT JOIN (
            SELECT sample_id, {", ".join(columns)} FROM {scores}
            WHERE part = 'answer' AND side IN ({sides}) GROUP BY sample_id
        ) AS turn ON turn.sample_id = record.sample_id ORDER BY record.sample_id
    """


def _risk(own: Moments) -> str:
    """Write `Moments.combine` in SQL, of one turn."""
    # As text of the shortest form, so that the same number is read back.
    return (
        f"(coalesce(orthogonal_difference, projection_difference)::DOUBLE - {own.difference_mean!r}::DOUBLE)"
        f" / {own.difference_sd!r}::DOUBLE"
        f" + (coalesce(evidence_z, 0)::DOUBLE - {own.z_mean!r}::DOUBLE) / {own.z_sd!r}::DOUBLE"
    )


def _expected(own: LengthFit) -> str:
    """Write `LengthFit.expect` in SQL, of one turn."""
    return (
        f"{own.intercept!r}::DOUBLE + {own.response!r}::DOUBLE * ln(1 + n_response_tokens)"
        f" + {own.baseline!r}::DOUBLE * ln(1 + coalesce(n_baseline_tokens, n_response_tokens))"
    )


class RunRisks(Mapping[str, TraitRisks]):
    """What `gather_risks` wrote, by trait, read when it is asked for.

    Args:
        is_combined: the combined score is there.
        adjusted: traits with a score that is adjusted for length.
    """

    def __init__(self, path: Path, traits: Sequence[str], *, is_combined: bool, adjusted: Collection[str]) -> None:
        self._path, self._traits, self._is_combined, self._adjusted = path, list(traits), is_combined, adjusted

    def __getitem__(self, trait: str) -> TraitRisks:
        if trait not in self._traits:
            raise KeyError(trait)
        k = self._traits.index(trait)
        return TraitRisks(
            orthogonal_n=self._read(f"orthogonal_{k}"),
            window_n=self._read(f"window_{k}"),
            layer_n=self._read(f"layer_{k}"),
            evidence_z_n=self._read(f"evidence_z_{k}"),
            risk_n=self.read_risk(trait),
            adjusted_n=self._read(f"adjusted_{k}") if trait in self._adjusted else None,
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._traits)

    def __len__(self) -> int:
        return len(self._traits)

    def read_risk(self, trait: str) -> NDArray[np.float64] | None:
        """Return the combined score alone; None where flags are made from plain ones."""
        return self._read(f"risk_{self._traits.index(trait)}") if self._is_combined else None

    def _read(self, column: str) -> NDArray[np.float64]:
        return _read_column(self._path, column, np.float64)


class RunScores(Mapping[str, TraitScores]):
    """The scores of a run by trait, read from its wide table when they are asked for: one trait in memory at a time.

    Args:
        path: a wide table, gathered or finished.
        keep_n: the records that count; None: all.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], keep_n: NDArray[np.bool_] | None = None) -> None:
        self._path = path
        self._vectors = {str(vector["trait"]): vector for vector in manifest["vectors"]}
        self._keep_n = keep_n

    def __getitem__(self, trait: str) -> TraitScores:
        vector = self._vectors[trait]
        return TraitScores(vector["layer"], vector["sha256"], self._read(trait), self._read(f"{trait}_mean"))

    def __iter__(self) -> Iterator[str]:
        return iter(self._vectors)

    def __len__(self) -> int:
        return len(self._vectors)

    def _read(self, column: str) -> NDArray[np.float64]:
        values = _read_column(self._path, column, np.float64)
        return values if self._keep_n is None else values[self._keep_n]


def read_sample_ids(path: Path) -> NDArray[np.int64]:
    """Return the sample ids of a wide table, rising."""
    return _read_column(path, "sample_id", np.int64)


def read_turn_counts(path: Path) -> NDArray[np.int64]:
    """Return how many scored answers each record has; 0 where it has none."""
    counts = _read_column(path, "n_scored_turns", np.float64)
    return np.nan_to_num(counts).astype(np.int64)


def read_predicted(path: Path) -> NDArray[np.bool_]:
    """Return, by record, whether a baseline of it is predicted."""
    with pq.ParquetFile(path) as file:
        kinds = (batch.column(0) for batch in file.iter_batches(ROW_GROUP_ROWS, columns=["score_kind"]))
        found = [pc.fill_null(pc.equal(kind, PREDICTED), False).to_numpy(zero_copy_only=False) for kind in kinds]
    return np.concatenate([np.zeros(0, dtype=bool), *found])


def _read_column(path: Path, column: str, dtype: type[_Number]) -> NDArray[_Number]:
    # Batch by batch, as two copies of a column would stand in memory otherwise.
    with pq.ParquetFile(path) as file:
        values = np.empty(file.metadata.num_rows, dtype=dtype)
        start = 0
        for batch in file.iter_batches(ROW_GROUP_ROWS, columns=[column]):
            values[start : start + batch.num_rows] = batch.column(0).to_numpy(zero_copy_only=False)
            start += batch.num_rows
    return values


def read_gathered(path: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a gathered table in order."""
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(ROW_GROUP_ROWS)


def write_sample_scores(
    path: Path,
    traits: Sequence[str],
    batches: Iterable[pa.RecordBatch],
    *,
    flagged_nk: NDArray[np.bool_],
    cluster_n: NDArray[np.int32],
    near_n: NDArray[np.bool_],
) -> None:
    """Write the wide table of a finished run: gathered rows, and what was found of each.

    Args:
        batches: gathered rows in the order of n.
        flagged_nk: flags by record and trait.
        cluster_n: cluster of each record; negative where it has none.
        near_n: whether it is near a flagged one.
    """
    schema = sample_scores_schema(tuple(traits))
    with replacing(path) as unfinished, _open_writer(unfinished, schema) as writer:
        start = 0
        for batch in batches:
            stop = start + batch.num_rows
            found = _describe_found(batch, traits, flagged_nk[start:stop], cluster_n[start:stop], near_n[start:stop])
            columns = [found.get(name, batch.column(name)) for name in schema.names]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema), row_group_size=ROW_GROUP_ROWS)
            start = stop


def _describe_found(
    batch: pa.RecordBatch,
    traits: Sequence[str],
    flagged_nk: NDArray[np.bool_],
    cluster_n: NDArray[np.int32],
    near_n: NDArray[np.bool_],
) -> dict[str, pa.Array]:
    has_score_n = np.zeros(batch.num_rows, dtype=bool)
    for trait in traits:
        has_score_n |= pc.is_valid(batch.column(trait)).to_numpy(zero_copy_only=False)
    by_name = sorted(range(len(traits)), key=lambda k: traits[k])
    sorted_nk = flagged_nk[:, by_name] & has_score_n[:, None]
    offsets = np.concatenate([[0], np.cumsum(sorted_nk.sum(axis=1))])
    names = pa.array([traits[k] for k in by_name], pa.string()).take(pa.array(np.nonzero(sorted_nk)[1]))
    return {
        "flagged": pa.array(sorted_nk.any(axis=1), mask=~has_score_n),
        "flagged_traits": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names, mask=pa.array(~has_score_n)),
        "cluster_id": pa.array(cluster_n, pa.int32(), mask=cluster_n < 0),
        "near_flagged": pa.array(near_n, mask=cluster_n < 0),
    }


def query_stretches(store: RunStore, query: str) -> Generator[pa.Table, None, None]:
    """Yield what a query over the records of a run gives for one stretch of them after the other.

    Parts share no record, so what a relation gives for some of them is a stretch of the whole. A thread asks for the
    next stretch meanwhile.
    """

    def ask() -> Iterator[pa.Table]:
        for parts in group_parts(store.parts()):
            with open_connection(store.path, only=parts) as connection:
                table = connection.sql(query).to_arrow_table()
            yield table

    return iterate_ahead(ask())


def group_parts(parts: Sequence[Part]) -> Iterator[list[Part]]:
    """Yield the parts in stretches of about 122,880 records, which fit into memory."""
    group: list[Part] = []
    for part in parts:
        if group and sum(each.n_rows for each in group) + part.n_rows > _GATHERED_ROWS:
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def _open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # Scores hardly ever repeat: a dictionary of them makes the file larger and writing four times slower.
    repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]
    texts = [name for name in repeating if name not in ("sample_id", "line", "n_response_tokens")]
    return pq.ParquetWriter(path, schema, compression="zstd", compression_level=3, use_dictionary=texts)
