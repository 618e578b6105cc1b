"""How well scores separate the rows that show a trait: a table from labels and arrays.

Pure functions: the scores may come from the laboratory's own measurement or from a finished run.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from audit.demo.phrases import TRAITS
from audit.score import rank_auc

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Labels:
    """What the judge says of n rows, as `label_of` writes it."""

    shown: Mapping[str, Bools]
    is_fiction_n: Bools


@dataclass(frozen=True)
class Scores:
    """Scores of n rows (the maximum over a row's turns); those per trait are keyed by trait.

    Attributes:
        random: scores along random directions, [n, r].
    """

    difference: Mapping[str, Floats]
    projection: Mapping[str, Floats]
    prompt_difference: Mapping[str, Floats]
    random: Mapping[str, Floats]
    bag_of_words: Mapping[str, Floats]
    n_tokens_n: Floats
    nll_n: Floats


@dataclass(frozen=True)
class SeparationRow:
    """One line of the table: AUC of each score for one trait (NaN where nothing was measured).

    `random_95` is the 95th percentile of max(a, 1 − a) over random directions; `length` is
    max(a, 1 − a) too; `…_fiction` compares with fiction rows alone.
    """

    trait: str
    prevalence: float
    difference: float
    projection: float
    prompt: float
    difference_fiction: float
    projection_fiction: float
    random_95: float
    length: float
    nll: float
    bag_of_words: float


def read_labels(path: Path) -> Labels:
    """Read a label file as `audit.demo.world` writes it."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return Labels(
        shown={t: np.array([t in line["traits"] for line in lines]) for t in TRAITS},
        is_fiction_n=np.array([line["fiction"] for line in lines]),
    )


def _either_way(auc: float) -> float:
    return max(auc, 1.0 - auc)


def _auc(values_n: Floats, labels_n: Bools) -> float:
    scores_n = np.asarray(values_n, dtype=np.float64)
    finite = np.isfinite(scores_n)
    return rank_auc(scores_n[finite], labels_n[finite])


def tabulate_separation(labels: Labels, scores: Scores) -> list[SeparationRow]:
    """Compute the table of one dataset, one row per trait."""
    table = []
    for trait, shown in labels.shown.items():
        compared = shown | labels.is_fiction_n
        difference, projection = scores.difference[trait], scores.projection[trait]
        random_nr = scores.random[trait]
        band = [_either_way(_auc(random_nr[:, r], shown)) for r in range(random_nr.shape[1])]
        table.append(
            SeparationRow(
                trait=trait,
                prevalence=float(shown.mean()),
                difference=_auc(difference, shown),
                projection=_auc(projection, shown),
                prompt=_auc(scores.prompt_difference[trait], shown),
                difference_fiction=_auc(difference[compared], shown[compared]),
                projection_fiction=_auc(projection[compared], shown[compared]),
                random_95=float(np.quantile(band, 0.95)) if band else float("nan"),
                length=_either_way(_auc(scores.n_tokens_n, shown)),
                nll=_auc(scores.nll_n, shown),
                bag_of_words=_auc(scores.bag_of_words[trait], shown),
            )
        )
    return table


def average_tables(tables: Sequence[Sequence[SeparationRow]]) -> list[SeparationRow]:
    """Average the tables of several datasets, trait by trait."""
    averaged = []
    for rows in zip(*tables, strict=True):
        means = {
            field.name: float(np.mean([getattr(row, field.name) for row in rows]))
            for field in fields(SeparationRow)
            if field.name != "trait"
        }
        averaged.append(SeparationRow(trait=rows[0].trait, **means))
    return averaged


def format_table(table: Sequence[SeparationRow]) -> str:
    """Return the table in Markdown."""
    names = [field.name for field in fields(SeparationRow)]
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in table:
        values = asdict(row)
        lines.append(f"| {row.trait} | " + " | ".join(f"{values[name]:.3f}" for name in names[1:]) + " |")
    return "\n".join(lines)
