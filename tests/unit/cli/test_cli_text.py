"""Text from outside stays text on a terminal; numbers read as people write them."""

from __future__ import annotations

import subprocess

import pytest

from audit.cli.text import (
    command_line,
    count_noun,
    cut,
    format_number,
    format_seconds,
    neutralise,
    one_line,
    split_names,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwritten\b", r"over\x0dwritten\x08"),
        ("c1 \x9b31m", r"c1 \x9b31m"),
        ("bidi \u202e override \u2066", r"bidi \u202e override \u2066"),
        ("line\u2028separator", r"line\u2028separator"),
        ("surrogate \ud800", r"surrogate \ud800"),
        ("plain ünï 漢字 🙂\n\tkept", "plain ünï 漢字 🙂\n\tkept"),
    ],
)
def test_what_acts_on_a_terminal_becomes_visible(text: str, shown: str) -> None:
    assert neutralise(text) == shown


def test_one_line_is_one_line_of_bounded_length() -> None:
    assert one_line("a\nb\tc") == r"a\nb\tc"
    assert one_line("abcdef", 4) == "abc…"


def test_a_cut_says_how_much_is_missing() -> None:
    assert cut("abcdef", None) == "abcdef"
    assert cut("abcdef", 4).startswith("abcd … [2 more characters")


@pytest.mark.parametrize("name", ["plain", "with space", "o'brien", "$(reboot)", "new\nline", "esc\x1b[31m'"])
def test_a_command_that_is_shown_can_be_typed(name: str) -> None:
    typed = subprocess.run(
        ["bash", "-c", command_line("printf", "%s", name)], capture_output=True, text=True, check=True
    )
    assert typed.stdout == name


def test_numbers_counts_and_durations() -> None:
    assert format_number(None) == "–"
    assert format_number(0.12345, 2, signed=True) == "+0.12"
    assert (count_noun(1, "record"), count_noun(2000, "record")) == ("1 record", "2,000 records")
    assert (format_seconds(3.21), format_seconds(61), format_seconds(3720)) == ("3.2 s", "1 min 01 s", "1 h 02 min")
    assert split_names(["a, b", "c,"]) == ("a", "b", "c")
