"""The opinions room: an LLM's second opinion on what a run flags, and on a random part of what it does not."""

from audit.opinions.agreement import Agreement, describe_agreement, estimate_recall
from audit.opinions.job import Opinions, judge_planned
from audit.opinions.plan import N_RANDOM, THRESHOLD, Plan, plan_judging

__all__ = [
    "N_RANDOM",
    "THRESHOLD",
    "Agreement",
    "Opinions",
    "Plan",
    "describe_agreement",
    "estimate_recall",
    "judge_planned",
    "plan_judging",
]
