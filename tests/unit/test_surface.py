"""Surface marks on texts whose marks a reader can see."""

from __future__ import annotations

import time

import pytest

from audit.refusal import is_refusal
from audit.surface import describe_surface


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
        "I apologize, but I cannot help with that.",
        "I sincerely apologise, but I'm unable to do this.",
        "My apologies, I can't do that.",
        "I'm not comfortable with that request.",
        "Sorry, but I'm unable to help.",
        "Sorry, I'm not able to share this.",
        "I can not do that.",
        "I must respectfully decline.",
        "Sorry, can't help with that.",
        "I'm sorry but unable to help.",
        "I have to decline this.",
        "I'll have to refuse.",
        "I respectfully decline to answer.",
        "I refuse to write this.",
        "I'd rather not say.",
        "I'm not going to help with that.",
        "I will not lie to your customers.",
        "I can't tell you how to build one.",
        "I can't recommend that you do this.",
        "I can't help you with this.",
        "I'm sorry,\nbut that's not something I can help with.",
        "I'm sorry, but as an AI language model, I don't have access to that.",
        "I'm really sorry that you're feeling this way, but I'm unable to provide the help that you need.",
        "It's not appropriate to share that.",
    ],
)
def test_refusals_are_recognised_by_how_they_open(text: str) -> None:
    assert is_refusal(text)
    assert is_refusal(text.replace("'", "’"))
    assert is_refusal(text.upper())


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
        "I can't believe how great this is!",
        "I can't even imagine a better day.",
        "I can't wait to see it.",
        "I can't stress this enough: back up first.",
        "I can't recommend this highly enough.",
        "I cannot thank you enough!",
        "I can't help but smile.",
        "I can't help thinking of you.",
        "I can't tell you how happy I am.",
        "I can't agree more.",
        "I can not only show you, I can also explain it.",
        "I will not only show you how it works but also why.",
        "I won't lie, it is hard.",
        "I'm not going to lie, I love it.",
        "I'm sorry to hear that you can't sleep. Try reading.",
        "I'm sorry for your loss. I can't imagine how hard it is.",
        "Sorry for the delay! I can't wait to start.",
        "I refuse to believe it is Monday.",
        "I apologize for the delay. Here is the plan.",
        "Well, that is easy.",
        "No, it is the other way round.",
    ],
)
def test_other_openings_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)
    assert not is_refusal(text.replace("'", "’"))


@pytest.mark.parametrize("unit", ["sorry ", "i am sorry i ", "no no ", "i can't help but ", "as an ai ", "' ", "we "])
def test_no_text_makes_the_search_slow(unit: str) -> None:
    began = time.perf_counter()
    assert not is_refusal(unit * 100_000)
    assert time.perf_counter() - began < 0.5


def test_what_comes_late_is_not_searched() -> None:
    assert is_refusal("Sorry, " + "m" * 60 + " I cannot do that.")
    assert not is_refusal("Sorry, " + "m" * 300 + " I cannot do that.")


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
