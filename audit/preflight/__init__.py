"""What a trainer would do to a dataset, row by row, before anything is trained: drop, crash, or train by surprise.

Knows trainers from their code, each in the version it was read in. Needs no model and runs no trainer.
"""

from audit.preflight.check import check_datasets
from audit.preflight.finding import EFFECTS, Finding, Preflight, Rule, TrainerReport
from audit.preflight.gate import check_limits, find_met_limits
from audit.preflight.trainers import load_trainers

__all__ = [
    "EFFECTS",
    "Finding",
    "Preflight",
    "Rule",
    "TrainerReport",
    "check_datasets",
    "check_limits",
    "find_met_limits",
    "load_trainers",
]
