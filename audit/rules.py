"""The rule by which a run flags records: its name, its level, and how both are written (`--flag RULE:LEVEL`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from audit.errors import ConfigError

_LEVELS: Final = {"quantile": "95", "fdr": "0.05", "top-k": "100", "absolute": None}
"""Rule → the level that it has where none is named."""

PUBLISHED_RULE: Final = "quantile:95"
"""Appendix K of arXiv 2507.21509."""

CURE: Final = "examples: fdr:0.05, quantile:95, top-k:100, absolute:4.0"


@dataclass(frozen=True, slots=True)
class Rule:
    """How records are flagged.

    `quantile`: a trait's risk above that percentile of clean turns (the published rule at 95). `fdr`: of all flagged
    records at most that share is expected to be clean. `top-k`: so many records, the most unusual. `absolute`: a risk
    of at least that.
    """

    kind: str
    level: float

    @property
    def is_joint(self) -> bool:
        """Whether records are chosen over all traits at once; otherwise each trait by itself."""
        return self.kind in ("fdr", "top-k")

    @property
    def words(self) -> str:
        """What a flag says of it."""
        return {
            "quantile": f"above the clean {self.level:g}{_ordinal(self.level)} percentile",
            "fdr": f"at a false discovery rate of {self.level:.3g}",
            "top-k": f"among the {self.level:,.0f} most unusual records",
            "absolute": f"a risk of at least {self.level:g}",
        }[self.kind]

    def __str__(self) -> str:
        return f"{self.kind}:{self.level:g}"


def parse_rule(text: str) -> Rule:
    """Read `RULE` or `RULE:LEVEL`.

    Raises:
        ConfigError: there is no such rule, or its level makes no sense.
    """
    kind, _, written = (part.strip() for part in text.partition(":"))
    if kind not in _LEVELS:
        raise ConfigError("--flag", f"{text!r} is no rule", CURE)
    written = written or _LEVELS[kind] or ""
    try:
        level = float(written.removesuffix("%"))
    except ValueError:
        raise ConfigError(
            "--flag", f"{text!r} has no level" if not written else f"{written!r} is no number", CURE
        ) from None
    if kind == "fdr" and written.endswith("%"):
        level /= 100
    is_sound = {
        "quantile": 50 <= level < 100,
        "fdr": 0 < level < 1,
        "top-k": level >= 1 and level == int(level) if level < 1e15 else False,
        "absolute": abs(level) < float("inf"),
    }[kind]
    if not is_sound:
        ranges = {
            "quantile": "a percentile from 50 to below 100",
            "fdr": "a share between 0 and 1",
            "top-k": "a whole number of records from 1 on",
            "absolute": "a finite score",
        }
        raise ConfigError("--flag", f"{written} is out of range for {kind}", f"choose {ranges[kind]}; {CURE}")
    return Rule(kind, level)


def _ordinal(level: float) -> str:
    if level != int(level) or int(level) % 100 in (11, 12, 13):
        return "th"
    return {1: "st", 2: "nd", 3: "rd"}.get(int(level) % 10, "th")
