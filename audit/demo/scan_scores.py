"""Scores of demo rows as a user gets them: a scan, read back from its relations.

Random directions ride along as vectors of their own, so that the null band goes through the same code.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from audit.config import ScanConfig
from audit.demo.separation import Floats, Scores
from audit.demo.world import Row, write_rows
from audit.run import Run, scan
from audit.vectors import PersonaVector, load_vectors, save_vector

N_RANDOM: Final = 100
_RANDOM_SEED: Final = 8_001


def scan_rows(
    rows: Sequence[Row],
    folder: Path,
    *,
    model: Path | None,
    vectors: Path,
    bag_of_words: Mapping[str, Floats],
    n_random: int = N_RANDOM,
    orthogonal: bool = False,
) -> Scores:
    """Scan the rows in `folder` and return the scores of every row: the largest over its turns.

    Orthogonal traits are scanned without random directions, as these would be parted from them, too.
    """
    n_random = 0 if orthogonal else n_random
    data = folder / "rows.jsonl"
    write_rows(iter(rows), data, None)
    loaded = load_vectors([str(vectors)])
    random_names = write_random_vectors(folder / "random", loaded, n_random)
    run = scan(
        ScanConfig(
            datasets=(str(data),),
            model=None if model is None else str(model),
            vectors=(str(vectors), *([str(folder / "random")] if n_random else [])),
            orthogonal=orthogonal,
            baseline="generate",
            out=str(folder / "rows.audit"),
            nll=True,
            # Random directions ride as traits here, and evidence would be measured along each.
            evidence="off",
        )
    )
    columns = _read_columns(run, [*loaded, *(name for names in random_names.values() for name in names)])
    return Scores(
        difference={trait: columns[trait]["difference"] for trait in loaded},
        projection={trait: columns[trait]["projection"] for trait in loaded},
        prompt_difference={trait: columns[trait]["prompt_difference"] for trait in loaded},
        random={
            trait: np.array([columns[name]["difference"] for name in random_names[vector.layer]], np.float64)
            .reshape(n_random, len(rows))
            .T
            for trait, vector in loaded.items()
        },
        bag_of_words=bag_of_words,
        n_tokens_n=_read_turns(run, "sum(n_response_tokens)"),
        nll_n=_read_turns(run, "max(response_nll)"),
    )


def write_random_vectors(folder: Path, like: Mapping[str, PersonaVector], n_random: int) -> dict[int, list[str]]:
    """Write seeded random directions for every layer in use, and return their names by layer."""
    folder.mkdir()
    generator = np.random.default_rng(_RANDOM_SEED)
    names: dict[int, list[str]] = {}
    for layer in sorted({vector.layer for vector in like.values()}):
        pattern = next(vector for vector in like.values() if vector.layer == layer)
        names[layer] = [f"random_{layer}_{number}" for number in range(n_random)]
        for name in names[layer]:
            vector_ld = generator.standard_normal(pattern.vector_ld.shape).astype(np.float32)
            vector = dataclasses.replace(pattern, trait=name, vector_ld=vector_ld, recipe="a random direction")
            save_vector(folder / f"{name}.safetensors", vector)
    return names


def _read_columns(run: Run, traits: Sequence[str]) -> dict[str, dict[str, Floats]]:
    found = {}
    for trait in traits:
        values = run.sql(
            "SELECT sample_id, max(projection_difference) AS difference, max(projection) AS projection, "
            f"max(projection - prompt_projection) AS prompt_difference FROM scores WHERE trait = '{trait}' "
            "GROUP BY sample_id ORDER BY sample_id"
        ).fetchnumpy()
        found[trait] = {
            name: np.ma.filled(values[name].astype(np.float64), np.nan)
            for name in ("difference", "projection", "prompt_difference")
        }
    return found


def _read_turns(run: Run, expression: str) -> Floats:
    query = f"SELECT sample_id, {expression}::DOUBLE AS value FROM turns GROUP BY sample_id ORDER BY sample_id"
    values: Floats = np.ma.filled(run.sql(query).fetchnumpy()["value"], np.nan)
    return values
