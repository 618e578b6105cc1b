"""Flag rules as they are written on the command line."""

from __future__ import annotations

import pytest

from audit.errors import ConfigError
from audit.rules import parse_rule


@pytest.mark.parametrize(
    ("text", "kind", "level"),
    [
        ("fdr:0.05", "fdr", 0.05),
        ("fdr:5%", "fdr", 0.05),
        ("fdr", "fdr", 0.05),
        (" quantile : 99.5 ", "quantile", 99.5),
        ("quantile:95%", "quantile", 95.0),
        ("top-k:200", "top-k", 200.0),
        ("absolute:-0.5", "absolute", -0.5),
    ],
)
def test_a_rule_is_read(text: str, kind: str, level: float) -> None:
    rule = parse_rule(text)
    assert (rule.kind, rule.level) == (kind, pytest.approx(level))
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    "text",
    [
        *("", "risk", "fdr:0", "fdr:1", "fdr:nan", "fdr:x", "fdr:0.05:3", "quantile:100", "quantile:5"),
        *("top-k:0", "top-k:1.5", "top-k:inf", "absolute", "absolute:", "absolute:inf", "absolute:nan"),
    ],
)
def test_what_is_no_rule_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match=r"fdr:0\.05"):
        parse_rule(text)
