"""What is to be judged, settled before anybody is asked: records, their answers that count, and each trait's rubric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from audit.errors import ConfigError, TraitError
from audit.inputs import Inputs
from audit.opinions.draw import Drawn, Ids, draw_records
from audit.query import open_connection, read_batches, run_query
from audit.query.relations import list_manifest_traits
from audit.schema import SCORED_SIDES, SCORED_STATUSES
from audit.specs import find_spec
from audit.store import RunStore
from audit.texts import open_inputs
from audit.traits import TraitSpec, read_spec

N_RANDOM = 200
THRESHOLD = 50.0
"""Half of the judge's scale, from which on extraction, too, takes an answer to show the trait."""

_COUNTED = f"""SELECT sample_id, side, turn FROM turns WHERE part = 'answer'
    AND side IN {SCORED_SIDES!r} AND status IN {SCORED_STATUSES!r}"""
_CANDIDATES = """SELECT sample_id, q_value IS NOT NULL AS tested, coalesce(flagged, false) AS flagged
    FROM flags WHERE trait = $trait"""

TurnPlace = tuple[int, str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What is to be judged, settled before anybody is asked.

    Attributes:
        specs: per trait, its specification.
        drawn: per trait, the records.
        counted: answers of these records that count.
    """

    run_path: Path
    manifest: Mapping[str, Any]
    inputs: Inputs
    specs: Mapping[str, TraitSpec]
    drawn: Mapping[str, Drawn]
    counted: frozenset[TurnPlace]
    settings: Mapping[str, Any]
    threshold: float
    notices: tuple[str, ...]

    @property
    def n_records(self) -> int:
        """Records to be judged, each counted once for every trait."""
        return sum(drawn.n for drawn in self.drawn.values())


def plan_judging(
    run_path: str | Path,
    *,
    traits: Sequence[str] = (),
    n_random: int = N_RANDOM,
    limit: int | None = None,
    threshold: float = THRESHOLD,
    seed: int = 0,
    spec_paths: Sequence[str | Path] = (),
) -> Plan:
    """Choose the records of a finished run that a judge is to be asked about, and what it is to be told.

    Args:
        traits: of the run; none: all that have a specification.
        n_random: records drawn from all that could be flagged, per trait.
        limit: most flagged records per trait; None: all.
        threshold: from this number on the judge finds the trait in a record.
        spec_paths: files with specifications, which come before those that are found by the trait's name.

    Raises:
        RunError: there is no finished run.
        ConfigError: an option makes no sense, or no trait has a specification.
        TraitError: a specification cannot be used.
        MissingDataError, DataError: a source is gone, or has changed since the scan.
    """
    if n_random < 0 or (limit is not None and limit < 0):
        raise ConfigError("--random" if n_random < 0 else "--limit", "is negative", "give a number of records")
    if not 0 < threshold <= 100:
        raise ConfigError("--threshold", f"{threshold:g} is not on the judge's scale", "give a number up to 100")
    manifest = RunStore(Path(run_path)).read_finished_manifest()
    specs, notices = _choose_specs(manifest, traits, spec_paths)
    inputs = open_inputs(manifest)
    with open_connection(run_path) as connection:
        drawn = {}
        for trait in specs:
            could, flagged = _read_candidates(connection, trait)
            drawn[trait] = draw_records(could, flagged, n_random=n_random, limit=limit, seed=seed)
            if not flagged.size:
                notices.append(f"{trait}: no record is flagged, so only the random part is judged")
        wanted = np.unique(np.concatenate([np.concatenate((own.random, own.flagged)) for own in drawn.values()]))
        counted = frozenset(_read_counted(connection, wanted))
    settings = {"n_random": n_random, "limit": limit, "seed": seed, "threshold": threshold}
    return Plan(Path(run_path), manifest, inputs, specs, drawn, counted, settings, threshold, tuple(notices))


def _choose_specs(
    manifest: Mapping[str, Any], traits: Sequence[str], spec_paths: Sequence[str | Path]
) -> tuple[dict[str, TraitSpec], list[str]]:
    own = list_manifest_traits(manifest)
    unknown = [trait for trait in traits if trait not in own]
    if unknown:
        raise ConfigError(f"--trait {unknown[0]}", "the run has no such trait", f"it has {', '.join(own)}")
    given = {spec.name: spec for spec in map(read_spec, spec_paths)}
    foreign = [name for name in given if name not in own]
    if foreign:
        raise ConfigError(f"--spec of {foreign[0]}", "the run has no such trait", f"it has {', '.join(own)}")
    is_demo = manifest["config"].get("model") is None
    sources = {str(vector["trait"]): vector.get("source") for vector in manifest["vectors"]}
    asked = list(traits or own)
    found = {trait: given.get(trait) or find_spec(trait, sources[trait], is_demo=is_demo) for trait in asked}
    specs = {trait: spec for trait, spec in found.items() if spec is not None}
    missing = [trait for trait in asked if trait not in specs]
    if not specs:
        cure = "name a file with --spec; `persona-audit traits write` drafts one from a description"
        raise ConfigError("judge", f"no trait specification for {', '.join(missing)}", cure)
    for trait, spec in specs.items():
        # All that a judge is told; what extraction needs beside it may be missing.
        if not spec.rubric.strip():
            raise TraitError(trait, "the specification has no rubric", "say what 0 and what 100 stand for")
    return specs, [f"no trait specification for {', '.join(missing)}: not judged"] if missing else []


def _read_candidates(connection: duckdb.DuckDBPyConnection, trait: str) -> tuple[Ids, Ids]:
    """Return the ids that could be flagged, and those that are; without a reference any scored record could be."""
    ids, tested, flagged = [], [], []
    for batch in read_batches(run_query(connection, _CANDIDATES, {"trait": trait}), batch_rows=100_000):
        ids.append(batch["sample_id"].to_numpy())
        tested.append(batch["tested"].to_numpy(zero_copy_only=False).astype(bool))
        flagged.append(batch["flagged"].to_numpy(zero_copy_only=False).astype(bool))
    ids_n, tested_n, flagged_n = (np.concatenate(own) for own in (ids, tested, flagged))
    could_n = (tested_n | flagged_n) if tested_n.any() else np.ones(ids_n.size, dtype=bool)
    return ids_n[could_n].astype(np.int64), ids_n[flagged_n].astype(np.int64)


def _read_counted(connection: duckdb.DuckDBPyConnection, wanted: NDArray[np.int64]) -> Iterator[TurnPlace]:
    for batch in read_batches(run_query(connection, _COUNTED), batch_rows=100_000):
        own = batch.filter(np.isin(batch["sample_id"].to_numpy(), wanted))
        yield from zip(*(own[name].to_pylist() for name in ("sample_id", "side", "turn")), strict=True)
