"""The clean reference of the demo model: `python -m audit.demo.reference` scores clean rows and writes it.

Clean rows are good answers and fiction of a seed that no shipped or reported dataset uses, scanned as a user would
scan them, with all their evidence, once for each kind of score that a run can have; scores against predicted baselines
come from a second, larger set, as few prompts are all answered.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np

from audit.assets import demo_reference_path
from audit.clean import reference_from_run
from audit.config import ScanConfig
from audit.demo.world import clean_rows, write_rows
from audit.reference import Reference
from audit.run import scan
from audit.store import write_bytes

REFERENCE_SEED: Final = 8_100
N_ROWS: Final = 5_000
PREDICTED_SEED: Final = 8_101
N_PREDICTED_ROWS: Final = 8_000
BASELINES: Final = ("generate", "prompt", "none")
_PREDICTED_RISKS: Final = """
    SELECT risk FROM flags JOIN sample_scores USING (sample_id)
    WHERE trait = '{trait}' AND score_kind = 'predicted_difference' AND risk IS NOT NULL
"""


def measure_reference(n_rows: int, seed: int) -> list[Reference]:
    """Scan fresh clean rows and return one reference per kind of score."""
    references = []
    with tempfile.TemporaryDirectory(prefix="persona-audit-reference-") as folder:
        data = Path(folder) / "clean.jsonl"
        write_rows(clean_rows(n_rows, seed), data, None)
        for baseline in BASELINES:
            out = Path(folder) / baseline
            scan(ScanConfig(datasets=(str(data),), baseline=baseline, out=str(out)))
            source = f"clean rows of the demo world, seed {seed}"
            references.append(replace(reference_from_run(out, seed=0), source=source))
        references[0] = _add_predicted(references[0], Path(folder), n_rows)
    return references


def _add_predicted(reference: Reference, folder: Path, n_scores: int) -> Reference:
    """Return the reference of generated baselines with clean scores against predicted ones.

    Predicted combined scores are standardised with the moments of the reference that they join, as those of any run.
    """
    data, out = folder / "clean-large.jsonl", folder / "auto"
    write_rows(clean_rows(N_PREDICTED_ROWS, PREDICTED_SEED), data, None)
    run = scan(ScanConfig(datasets=(str(data),), baseline="auto", reference=str(folder / "generate"), out=str(out)))
    found = reference_from_run(out, seed=0)
    traits = {}
    for name, trait in reference.traits.items():
        plain = replace(trait.plain, predicted_sorted=_thin(found.traits[name].plain.predicted_sorted, n_scores))
        traits[name] = replace(trait, plain=plain)
        if trait.combined is not None:
            risks = [row[0] for row in run.sql(_PREDICTED_RISKS.format(trait=name)).fetchall()]
            clean = replace(trait.combined.clean, predicted_sorted=_thin(risks, n_scores))
            traits[name] = replace(traits[name], combined=replace(trait.combined, clean=clean))
    return replace(reference, traits=traits)


def _thin(scores: Sequence[float], n_scores: int) -> tuple[float, ...]:
    """Return evenly spaced order statistics: the same distribution in as many numbers as the reference has."""
    ordered = np.sort(scores)
    kept = ordered[np.linspace(0, ordered.size - 1, min(n_scores, ordered.size)).round().astype(int)]
    return tuple(float(f"{value:.6g}") for value in kept)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the reference and write it where scans of the demo model find it."""
    parser = argparse.ArgumentParser(prog="python -m audit.demo.reference", description=__doc__)
    parser.add_argument("--rows", type=int, default=N_ROWS, metavar="N")
    parser.add_argument("--seed", type=int, default=REFERENCE_SEED, metavar="S")
    parser.add_argument("--output", type=Path, default=demo_reference_path(), metavar="FILE")
    chosen = parser.parse_args(arguments)
    # An earlier reference must not judge the rows that the new one is made from.
    chosen.output.unlink(missing_ok=True)
    references = [asdict(reference) for reference in measure_reference(chosen.rows, chosen.seed)]
    write_bytes(chosen.output, json.dumps(references, allow_nan=False).encode() + b"\n")
    for reference in references:
        print(f"{chosen.output}: {reference['n']} rows, {reference['score_kind']}")


if __name__ == "__main__":
    main()
