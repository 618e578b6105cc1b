"""The evidence of a run, as a whole or by groups of records: pooled Z and mean z per trait, and what random directions
make of the same turns.

Reads turns part by part and adds them up; what the sums mean is said in `calibration`. A turn counts where it is an
answer that is trained towards and its record is judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from audit.calibration import EvidenceSums, RandomSums, TraitEvidence
from audit.query import open_connection
from audit.risk import evidence_level
from audit.schema import RANDOM_DIRECTIONS, SCORED_SIDES
from audit.score import Interval
from audit.store import RunStore
from audit.wide import group_parts

_BATCH_TURNS = 8_192

_TRAITS = """
    SELECT sample_id, trait, evidence, evidence_variance, evidence_z
    FROM scores
    WHERE part = 'answer' AND list_contains($1, side) AND evidence IS NOT NULL
"""

_RANDOM = """
    SELECT sample_id, layer, random_evidence.evidence AS evidence, null_evidence, response_nll
    FROM random_evidence JOIN turns USING (sample_id, side, turn, part)
    WHERE part = 'answer' AND list_contains($1, side)
"""


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """What evidence says of a run: by trait, and by layer what random directions say."""

    level: str
    traits: dict[str, TraitEvidence]
    layers: dict[int, RandomSums]

    def to_json(self) -> dict[str, Any]:
        """Return what the manifest keeps.

        `random_rms` is the root mean square of the pooled Z of random directions, `inflation` the variance of row-wise
        z along them, and `inflation_by_nll` the same by loss (mean nats per token of each bin).
        """
        return {
            "level": self.level,
            "n_directions": RANDOM_DIRECTIONS,
            "traits": {
                trait: {"n_turns": own.n, "pooled_z": own.pooled_z, "mean_z": own.mean_z.mean if own.mean_z else None}
                for trait, own in self.traits.items()
            },
            "layers": {str(layer): _describe_layer(sums) for layer, sums in sorted(self.layers.items())},
        }


def pool_evidence(
    store: RunStore, manifest: Mapping[str, Any], sample_ids: NDArray[np.int64], judged_n: NDArray[np.bool_]
) -> RunEvidence | None:
    """Add up the evidence of a run; None where it measured none.

    Args:
        sample_ids: all records, rising.
        judged_n: whether each counts.
    """
    pooled = pool_groups(store, manifest, sample_ids, np.where(judged_n, 0, -1), 1)
    return pooled[0] if pooled else None


def pool_groups(
    store: RunStore,
    manifest: Mapping[str, Any],
    sample_ids: NDArray[np.int64],
    group_n: NDArray[np.integer],
    n_groups: int,
) -> list[RunEvidence] | None:
    """Add up the evidence of several groups of records in one pass; None where the run measured none.

    Args:
        sample_ids: all records, rising.
        group_n: the group of each, from 0; negative where it does not count.
    """
    level = evidence_level(manifest)
    if level == "off":
        return None
    layer_of = {str(vector["trait"]): int(vector["layer"]) for vector in manifest["vectors"]}
    traits = [{trait: EvidenceSums() for trait in layer_of} for _ in range(n_groups)]
    layers = [{layer: RandomSums(RANDOM_DIRECTIONS) for layer in layer_of.values()} for _ in range(n_groups)]

    def split(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        own_n = group_n[np.searchsorted(sample_ids, batch["sample_id"].to_numpy())]
        for group in np.unique(own_n[own_n >= 0]).tolist():
            yield group, batch.filter(pa.array(own_n == group))

    for parts in group_parts(store.parts()):
        with open_connection(store.path, only=parts) as connection:
            for batch in connection.sql(_TRAITS, params=[list(SCORED_SIDES)]).to_arrow_reader(_BATCH_TURNS):
                for group, own in split(batch):
                    _add_scores(traits[group], own)
            for batch in connection.sql(_RANDOM, params=[list(SCORED_SIDES)]).to_arrow_reader(_BATCH_TURNS):
                for group, own in split(batch):
                    _add_random(layers[group], own)
    return [_conclude(level, own, random, layer_of) for own, random in zip(traits, layers, strict=True)]


def _conclude(
    level: str, traits: Mapping[str, EvidenceSums], layers: dict[int, RandomSums], layer_of: Mapping[str, int]
) -> RunEvidence:
    found = {
        trait: TraitEvidence(
            sums.n,
            _rounded(sums.pooled_z),
            _rounded(layers[layer_of[trait]].band),
            _round_interval(sums.mean_z) if level == "full" else None,
        )
        for trait, sums in traits.items()
    }
    return RunEvidence(level, found, layers)


def _add_scores(traits: Mapping[str, EvidenceSums], batch: pa.RecordBatch) -> None:
    for trait, sums in traits.items():
        own = batch.filter(pc.equal(batch["trait"], trait))
        # A missing number is NaN in an array of floats.
        columns = (own[name].to_numpy(zero_copy_only=False) for name in ("evidence", "evidence_variance", "evidence_z"))
        sums.add(*columns)


def _add_random(layers: Mapping[int, RandomSums], batch: pa.RecordBatch) -> None:
    for layer, sums in layers.items():
        own = batch.filter(pc.equal(batch["layer"], layer))
        score, null = (
            own[name].flatten().to_numpy(zero_copy_only=False).reshape(-1, RANDOM_DIRECTIONS)
            for name in ("evidence", "null_evidence")
        )
        sums.add(own["response_nll"].to_numpy(zero_copy_only=False), score, null)


def _describe_layer(sums: RandomSums) -> dict[str, Any]:
    z_r = sums.z_r
    return {
        "n_turns": sums.n,
        "random_rms": _rounded(math.sqrt(float(np.mean(z_r**2)))) if len(z_r) else None,
        "band": _rounded(sums.band),
        "inflation": _rounded(sums.inflation),
        "inflation_by_nll": [
            {name: value if name == "n" else _rounded(value) for name, value in asdict(own).items()}
            for own in sums.inflation_by_loss()
        ],
    }


def _rounded(value: float | None) -> float | None:
    # The last digits depend on how a run was cut into parts, which must not show.
    return None if value is None else float(f"{value:.12g}")


def _round_interval(found: Interval | None) -> Interval | None:
    if found is None:
        return None
    mean, low, high, sd = (float(f"{value:.12g}") for value in (found.mean, found.low, found.high, found.sd))
    return Interval(mean, low, high, sd, found.n)
