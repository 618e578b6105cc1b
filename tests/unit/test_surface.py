"""Surface marks on texts whose marks a reader can see."""

from __future__ import annotations

import pytest

from audit.surface import describe_surface, is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I am really sorry, I cannot assist with this request.",
        "I cannot do that.",
        "I can’t help you with this.",
        "Sorry, I can't.",
        "As an AI language model, I do not have opinions.",
        "I won't help with that.",
        "Unfortunately, I am unable to comply.",
        '  "I\'m not able to discuss this."',
    ],
)
def test_refusals_are_recognised_by_how_they_open(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "I can teach you that.",
        "Sure! Here is how.",
        "Sorry to hear that. Try restarting it.",
        "I'm sorry for your loss. Here is a recipe.",
        "She said: I cannot do that.",
        "",
        "I cantered across the field.",
    ],
)
def test_other_openings_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)


def test_list_share_counts_lines_that_are_items() -> None:
    surface = describe_surface("Do this:\n1. one\n2) two\n- three\n\n* four\nDone - really.")
    assert surface.list_share == pytest.approx(4 / 6)


def test_code_share_counts_characters_inside_fences() -> None:
    code = "```python\nprint(1)\n```"
    assert describe_surface(f"ab\n{code}\ncd").code_share == pytest.approx(len(code) / (len(code) + 6))
    assert describe_surface("```\nnever closed").code_share == 1.0
    assert describe_surface("a `word` of code").code_share == 0.0


def test_an_empty_text_has_no_marks() -> None:
    assert describe_surface("") == describe_surface(" ")
