"""`--fail-on`: limits on a run or on a comparison of two, for a gate in CI. Pure: values go in, passed limits come out.

A limit is an expression such as `verdict.evil == 'risk' or flagged_share > 0.02` (see `grammar`), or one of the short
forms of `short`, which stand for expressions. What could not be judged, or is not known, counts as passed unless it is
allowed: it is not known to be clean (see `evaluate`).
"""

from audit.limits.check import check_limits, parse_limits
from audit.limits.comparison import COMPARISON
from audit.limits.evaluate import SEVERITY
from audit.limits.run import RUN

__all__ = [
    "COMPARISON",
    "RUN",
    "SEVERITY",
    "check_limits",
    "parse_limits",
]
