"""Short forms of limits that stand for expressions: `risk` and `watch` for any trait, `evil=watch` for one.

A verdict is passed by itself and by worse. Everything else that is short, `flagged>5%` say, is an expression already.
"""

from __future__ import annotations

import re

from audit.limits.grammar import Comparison, Constant, Name, Tree

_SHORT = re.compile(r"(?:([a-z][a-z0-9_]*)\s*=\s*)?(watch|risk)")


def read_short(text: str, verdict: str) -> Tree | None:
    """Return what a short form stands for; None where the text is none.

    Args:
        verdict: the name of verdicts in the vocabulary at hand.
    """
    found = _SHORT.fullmatch(text.strip())
    if found is None:
        return None
    trait, least = found.groups()
    return Comparison(Name((verdict,) if trait is None else (verdict, trait)), ">=", Constant(least))
