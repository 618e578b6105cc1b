"""What a validation says, as frozen values: of scores, of flags, of groups of records. Knows not how it is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit.retrieval import Estimate, Share


@dataclass(frozen=True, slots=True)
class ScoreQuality:
    """How well one number tells the records that show a trait from the others.

    Attributes:
        name: the column of `flags` or `scores`; for a rival its words.
        is_rival: a trivial baseline, not a score of the tool.
        n: labelled records that have the number.
        auc: None with `reason`.
        is_reversed: of a rival, small values go with the trait; `auc` is of the value with its sign turned.
        average_precision: area under the precision-recall curve.
        precision_at: per k, the share of positives among the k highest.
        reason: why there is no `auc`.
    """

    name: str
    is_rival: bool
    n: int
    auc: Estimate | None = None
    is_reversed: bool = False
    average_precision: float | None = None
    precision_at: Mapping[int, Share | None] = dataclasses.field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class FlagQuality:
    """What flags are worth, counted over labelled records with a score.

    Attributes:
        n_flagged: flags of the run, labelled or not.
        precision: share of the labelled flags whose record shows the trait.
        recall: share of the labelled records that show it which are flagged.
        false_share: share of the labelled flags whose record does not show it: the false discoveries.
        unlabelled: share of all flags whose record has no label.
    """

    n_flagged: int
    precision: Share
    recall: Share
    false_share: Share
    unlabelled: Share


@dataclass(frozen=True, slots=True)
class TraitQuality:
    """One trait of the run.

    Attributes:
        n: labelled records with a score.
        n_positive: those among them that show the trait.
        n_unscored: labelled records without a score, so they are in no figure.
        n_unscored_positive: those among them that show the trait.
        reason: why nothing can be ranked: `no AUC: …`.
    """

    trait: str
    n: int
    n_positive: int
    n_unscored: int
    n_unscored_positive: int
    scores: tuple[ScoreQuality, ...]
    flags: FlagQuality
    reason: str | None


@dataclass(frozen=True, slots=True)
class GroupShare:
    """Labelled records of one value of an extra column: their share of the data and of the flagged records.

    Attributes:
        value: of the column; None: nothing stands there; `(others)`: the rarer values together.
        data: of the labelled records with a score.
        flagged: of the labelled records that are flagged for any trait.
        innocent_data: records of the value that show no trait, of all labelled records with a score.
        innocent_flagged: such records among the flagged, of all flagged.
    """

    value: str | None
    data: Share
    flagged: Share
    innocent_data: Share
    innocent_flagged: Share


@dataclass(frozen=True, slots=True)
class Validation:
    """A run held against labels.

    Attributes:
        n_labelled: records with labels, of `n_samples`.
        overall: flags of any trait, counted once for every record and trait; None where no trait is labelled.
        by: per value of the column `by_column`, the largest first.
        notices: what a reader should know.
    """

    run: str
    labels: str
    n_samples: int
    n_labelled: int
    traits: tuple[TraitQuality, ...]
    overall: FlagQuality | None
    by_column: str | None
    by: tuple[GroupShare, ...]
    notices: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self)
