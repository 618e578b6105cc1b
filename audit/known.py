"""What is known of turns before their y′ is: what was read of response and prompt, and the y′ predicted from it.

Kept in the run directory while a scan works, since the choice of the prompts to answer and the scores both need it.
Knows files and arrays; does not read a model and decides nothing.

Axes: n turn, k direction (those of `ScoringJob.directions`), w trait whose windows are read, r reduced dimension,
f feature, v what is known of a turn's evidence, o output (k, then r).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from audit.errors import RunError
from audit.predict import Ridge
from audit.schema import TURN_KEY
from audit.store import PREDICTION, RESPONSES, RunStore, write_bytes

TurnKey = tuple[int, str, int, str]
Floats = NDArray[np.float32]

_KEY = tuple(field.name for field in TURN_KEY)


@dataclass(frozen=True, slots=True, eq=False)
class ResponseTable:
    """The turns of a stretch of records, in order.

    Attributes:
        prompt_n: the places of their prompts on the sheet, from 0.
        own_nk, prompt_nk: projection over the response, and at the last token before it.
        own_nr: mean hidden state over the response, reduced.
        feature_nf: what the baseline is predicted from; NaN where there is no prompt.
        window_nw: the largest mean projection over a window of the response.
        evidence_nv: evidence along the traits' vectors, then its null variance, then what is only kept; no columns
            where evidence is not measured.
    """

    keys: list[TurnKey]
    prompt_n: NDArray[np.int64]
    own_nk: Floats
    prompt_nk: Floats
    own_nr: Floats
    feature_nf: Floats
    window_nw: Floats
    evidence_nv: Floats

    def to_arrow(self) -> pa.Table:
        """Return the table that is stored; see `_from_arrow`."""
        columns = {name: [key[place] for key in self.keys] for place, name in enumerate(_KEY)}
        fields = [*TURN_KEY, pa.field("prompt", pa.int64())]
        table = pa.table({**columns, "prompt": self.prompt_n}).cast(pa.schema(fields))
        values = np.concatenate([self.own_nk, self.prompt_nk, self.own_nr, self.feature_nf], axis=1)
        for name, array in (("values", values), ("window", self.window_nw), ("evidence", self.evidence_nv)):
            # Parquet holds no lists of length 0.
            if width := array.shape[1]:
                lists = pa.FixedSizeListArray.from_arrays(pa.array(array.ravel(), pa.float32()), width)
                table = table.append_column(name, lists)
        return table


@dataclass(frozen=True, slots=True, eq=False)
class KnownTurn:
    """One row of a `ResponseTable`, and the baseline that is predicted for it; NaN where none can be."""

    own_k: Floats
    prompt_k: Floats
    own_r: Floats
    window_w: Floats
    evidence_v: Floats
    predicted_k: Floats
    predicted_r: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """How the baseline of an answer is predicted.

    Attributes:
        model: features → projections of the baseline, then its reduced mean state.
        learned_from: prompts (places on the sheet, rising) that the model saw.
        out_of_sample_no: what a model that did not see them predicts for those.
        error_k: standard deviation of observed minus predicted projections, out of sample; of the traits' alone.
        random_ids: the records that were drawn at random to learn it, rising.
    """

    model: Ridge
    learned_from: NDArray[np.int64]
    out_of_sample_no: NDArray[np.float64]
    error_k: NDArray[np.float64]
    random_ids: NDArray[np.int64]

    def predict(self, table: ResponseTable) -> Floats:
        """Return the predicted baselines [n, o] of turns, out of sample; NaN for what is no answer or has no prompt."""
        predicted_no = self.model.predict(table.feature_nf)
        place_n = np.searchsorted(self.learned_from, table.prompt_n)
        place_n[place_n == len(self.learned_from)] = 0
        seen_n = self.learned_from[place_n] == table.prompt_n
        predicted_no[seen_n] = self.out_of_sample_no[place_n[seen_n]]
        predicted_no[[key[3] != "answer" for key in table.keys]] = np.nan
        return predicted_no.astype(np.float32)

    def save(self, store: RunStore) -> None:
        """Keep it in the run directory."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            weights=self.model.weights_fo,
            offset=self.model.offset_o,
            learned_from=self.learned_from,
            out_of_sample=self.out_of_sample_no,
            error=self.error_k,
            random_ids=self.random_ids,
        )
        write_bytes(store.path / PREDICTION, buffer.getvalue())


def load_prediction(store: RunStore) -> Prediction:
    """Read the prediction of a run that was interrupted.

    Raises:
        RunError: it is missing or damaged.
    """
    path = Path(store.path, PREDICTION)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Prediction(
                model=Ridge(arrays["weights"], arrays["offset"]),
                learned_from=arrays["learned_from"],
                out_of_sample_no=arrays["out_of_sample"],
                error_k=arrays["error"],
                random_ids=arrays["random_ids"],
            )
    except (OSError, ValueError, KeyError) as error:
        raise RunError(str(path), f"cannot be read: {error}", "start over with --fresh") from error


class KnownTurns:
    """Finds what is known of turns; fast where they are asked for in the order of the records."""

    def __init__(self, store: RunStore, n_directions: int, n_reduced: int, prediction: Prediction | None) -> None:
        self._store = store
        self._n_directions, self._n_reduced = n_directions, n_reduced
        self._prediction = prediction
        self._random_ids = frozenset(() if prediction is None else prediction.random_ids.tolist())
        self._parts = store.parts(RESPONSES)
        self._at = -1
        self._found: dict[TurnKey, KnownTurn] = {}

    @property
    def error_k(self) -> NDArray[np.float64] | None:
        """The standard error of a predicted baseline's projections; None before there is a prediction."""
        return None if self._prediction is None else self._prediction.error_k

    def is_random(self, sample_id: int) -> bool:
        """Tell whether a record was drawn at random, and not only shares a prompt with one that was."""
        return sample_id in self._random_ids

    def find(self, key: TurnKey) -> KnownTurn | None:
        """Return what is known of a turn; None where its hidden states were not finite."""
        if self._at < 0 or not self._parts[self._at].start <= key[0] < self._parts[self._at].stop:
            self._load(next(n for n, part in enumerate(self._parts) if part.start <= key[0] < part.stop))
        return self._found.get(key)

    def _load(self, number: int) -> None:
        stored = pq.read_table(self._store.table_path(RESPONSES, self._parts[number]))
        table = _from_arrow(stored, self._n_directions, self._n_reduced)
        if self._prediction is None:
            predicted_no = np.full((len(table.keys), self._n_directions + self._n_reduced), np.nan, dtype=np.float32)
        else:
            predicted_no = self._prediction.predict(table)
        k = self._n_directions
        predicted = (predicted_no[:, :k], predicted_no[:, k:])
        rows = zip(
            table.own_nk, table.prompt_nk, table.own_nr, table.window_nw, table.evidence_nv, *predicted, strict=True
        )
        self._at, self._found = number, {key: KnownTurn(*row) for key, row in zip(table.keys, rows, strict=True)}


def read_response_tables(store: RunStore, n_directions: int, n_reduced: int) -> Iterator[ResponseTable]:
    """Yield what was read of responses, part by part, in the order of the records."""
    for part in store.parts(RESPONSES):
        yield _from_arrow(pq.read_table(store.table_path(RESPONSES, part)), n_directions, n_reduced)


def _from_arrow(table: pa.Table, k: int, r: int) -> ResponseTable:
    keys = list(zip(*(table[name].to_pylist() for name in _KEY), strict=True))
    values = _read_lists(table, "values")
    own_nk, prompt_nk, own_nr, feature_nf = np.split(values, [k, 2 * k, 2 * k + r], axis=1)
    window_nw, evidence_nv = _read_lists(table, "window"), _read_lists(table, "evidence")
    return ResponseTable(
        keys, table["prompt"].to_numpy(), own_nk, prompt_nk, own_nr, feature_nf, window_nw, evidence_nv
    )


def _read_lists(table: pa.Table, name: str) -> Floats:
    """Return a column of lists of one length; without columns where there is none."""
    if name not in table.column_names:
        return np.zeros((table.num_rows, 0), dtype=np.float32)
    width = table.schema.field(name).type.list_size
    flat: Floats = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(table.num_rows, width)
