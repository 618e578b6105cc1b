"""The validation room: scores and flags of a run held against labels, beside rivals that cost nothing."""

from audit.validation.labels import Labels, read_labels
from audit.validation.validate import K_DEFAULT, validate_run
from audit.validation.values import FlagQuality, GroupShare, ScoreQuality, TraitQuality, Validation

__all__ = [
    "K_DEFAULT",
    "FlagQuality",
    "GroupShare",
    "Labels",
    "ScoreQuality",
    "TraitQuality",
    "Validation",
    "read_labels",
    "validate_run",
]
