"""The limits of `--fail-on`: `[TRAINER.]EFFECT[>N[%]]`, and which of them a check passes.

Knows counts of rows. Does not know exit codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from audit.errors import ConfigError
from audit.preflight.finding import EFFECTS, Preflight, TrainerReport
from audit.preflight.trainers import choose_trainers, load_trainers

_SPELLINGS = {"crash": "crashes", "drop": "drops", "surprises": "surprise"}
_LIMIT = re.compile(
    r"\s*(?:(?P<trainer>[a-z_]+)\s*\.\s*)?(?P<effect>[a-z]+)\s*(?:(?P<sign>>=?)\s*(?P<n>\d+(?:\.\d+)?)\s*(?P<share>%)?)?\s*",
    re.IGNORECASE,
)
_GRAMMAR = "write crashes, drops or surprise, such as 'drops>0', 'surprise>5%' or 'trl.crashes'"


def check_limits(expressions: Iterable[str], *, trainer: str | None = None) -> None:
    """Check that limits can be read, and met in a check for a trainer (None: all), before any work is done.

    Raises:
        ConfigError: one cannot.
    """
    checked = [each.name for each in choose_trainers(trainer)]
    for expression in expressions:
        for limit in expression.split(","):
            _refuse_unchecked(limit, _match(limit), checked)


def find_met_limits(preflight: Preflight, expressions: Sequence[str]) -> tuple[str, ...]:
    """Return those of the limits that a check passes; several in one expression are parted by commas.

    Raises:
        ConfigError: an expression cannot be read, or is about a trainer that was not checked.
    """
    return tuple(
        limit.strip() for expression in expressions for limit in expression.split(",") if _is_met(preflight, limit)
    )


def _is_met(preflight: Preflight, limit: str) -> bool:
    found = _match(limit)
    _refuse_unchecked(limit, found, [report.trainer for report in preflight.trainers])
    return any(
        _exceeds(report, found, preflight.n_rows)
        for report in preflight.trainers
        if found["trainer"] is None or found["trainer"].lower() == report.trainer
    )


def _exceeds(report: TrainerReport, found: re.Match[str], n_rows: int) -> bool:
    n_met = report.n_by_effect[_name_effect(found["effect"])]
    least = float(found["n"] or 0)
    value = 100 * n_met / max(n_rows, 1) if found["share"] else n_met
    return value >= least if found["sign"] == ">=" else value > least


def _refuse_unchecked(limit: str, found: re.Match[str], checked: Sequence[str]) -> None:
    trainer = found["trainer"]
    if trainer is not None and trainer.lower() not in checked:
        finding = f"{limit.strip()!r} cannot be met: only {', '.join(checked)} is checked"
        raise ConfigError("--fail-on", finding, f"check {trainer.lower()}, too, or leave the limit out")


def _match(limit: str) -> re.Match[str]:
    if not limit.strip():
        raise ConfigError("--fail-on", "a limit is empty", _GRAMMAR)
    found = _LIMIT.fullmatch(limit)
    if found is None or _name_effect(found["effect"]) not in EFFECTS:
        raise ConfigError("--fail-on", f"{limit.strip()!r} cannot be read", _GRAMMAR)
    trainers = load_trainers()
    if found["trainer"] is not None and found["trainer"].lower() not in trainers:
        raise ConfigError(
            "--fail-on", f"there is no trainer {found['trainer']!r}", f"choose one of {', '.join(trainers)}"
        )
    if found["sign"] == ">=" and not float(found["n"]):
        raise ConfigError("--fail-on", f"{limit.strip()!r} is always met", "write '>0', or '>=1'")
    return found


def _name_effect(word: str) -> str:
    return _SPELLINGS.get(word.lower(), word.lower())
