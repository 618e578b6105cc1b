from __future__ import annotations

import dataclasses
import functools

import pytest

from audit.model.chat import RenderedTurn, UnscoredTurn, render_prompt, render_prompt_or_none, render_turn
from audit.model.load import LoadedModel, load_model
from audit.model.template import Template
from audit.samples import Message, Turn, answer_turn
from tests import models

PROMPT = (Message("user", "How are you?"),)


@functools.cache
def load(family: str) -> LoadedModel:
    return load_model(model=str(models.model_path(family)))


def with_template(text: str) -> LoadedModel:
    return dataclasses.replace(load("qwen2"), template=Template("model", text))


def found(model: LoadedModel, response: str, prompt: tuple[Message, ...] = PROMPT) -> str:
    turn = render_turn(model, answer_turn(prompt, response))
    assert isinstance(turn, RenderedTurn), turn
    assert turn.text.startswith(turn.prompt_text)
    assert turn.start >= len(turn.prompt_text)
    return turn.text[turn.start : turn.stop]


def refused(model: LoadedModel, response: str, prompt: tuple[Message, ...] = PROMPT) -> UnscoredTurn:
    turn = render_turn(model, answer_turn(prompt, response))
    assert isinstance(turn, UnscoredTurn), turn
    return turn


@pytest.mark.parametrize("family", [*models.FAMILIES, "gpt2"])
@pytest.mark.parametrize(
    "response", ["Fine.", "a", "  two\n\nlines  ", "😀👩‍👩‍👧", "e\u0301", "שלום עולם", "\u200bx\ufeff"]
)
def test_the_span_is_the_content_as_is_or_trimmed(family: str, response: str) -> None:
    keeps_white_space = family in ("qwen2", "qwen3")
    assert found(load(family), response) == (response if keeps_white_space else response.strip())


@pytest.mark.parametrize("response", ["", " ", "\n\t\u00a0\u2003"])
def test_an_empty_response_is_a_status(response: str) -> None:
    assert refused(load("llama"), response).status == "empty_response"


def test_scaffold_between_the_prompt_and_the_content_is_out() -> None:
    turn = render_turn(load("qwen3"), answer_turn(PROMPT, "Fine."))
    assert isinstance(turn, RenderedTurn)
    assert turn.prompt_text.endswith("<|im_start|>assistant\n")
    assert turn.text[len(turn.prompt_text) : turn.start] == "<think>\n\n</think>\n\n"


@pytest.mark.parametrize("response", ["think", "<", "\n\n<", "</think", "im_end"])
def test_a_response_that_also_stands_in_the_scaffold_is_found_behind_it(response: str) -> None:
    turn = render_turn(load("qwen3"), answer_turn(PROMPT, response))
    assert isinstance(turn, RenderedTurn)
    assert turn.text[: turn.start].endswith("</think>\n\n")
    assert turn.text[turn.start : turn.stop] == response


def test_a_response_that_also_stands_in_the_prompt_is_found_behind_it() -> None:
    assert found(load("llama"), PROMPT[0].content) == PROMPT[0].content
    turn = render_turn(load("llama"), answer_turn(PROMPT, "user"))
    assert isinstance(turn, RenderedTurn)
    assert turn.text[: turn.start].endswith("assistant<|end_header_id|>\n\n")


def test_white_space_that_the_template_writes_is_not_the_contents() -> None:
    spaced = with_template(
        "{% for m in messages %}[{{ m.role }}] {{ m.content | trim }} ;{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    assert found(spaced, " x ") == "x"
    left_trimmed = with_template(
        "{% for m in messages %}[{{ m.role }}]{{ m.content.lstrip() }};{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    assert found(left_trimmed, "\n x \n") == "x \n"


def test_a_template_that_changes_the_response_is_a_mismatch() -> None:
    upper = with_template("{% for m in messages %}{{ m.content | upper }}{% endfor %}")
    assert refused(upper, "Fine.").status == "template_mismatch"


@pytest.mark.parametrize("response", ["im_end", "<", "end|>", "im_end|>\n"])
def test_scaffold_that_reads_like_a_changed_response_is_not_taken_for_it(response: str) -> None:
    upper = with_template("{% for m in messages %}{{ m.content | upper }}<|im_end|>\n{% endfor %}")
    if response.upper() == response:
        assert found(upper, response) == response
    else:
        assert "changes the response" in refused(upper, response).reason


def test_a_response_that_the_template_leaves_out_is_not_looked_for_in_a_tool_call() -> None:
    calls = with_template(
        "{% for m in messages %}[{{ m.role }}]{{ m.tool_calls | tojson if m.tool_calls else m.content }}{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    message = Message("assistant", "Paris", tool_calls='[{"function": {"name": "f", "arguments": {"city": "Paris"}}}]')
    turn = render_turn(calls, Turn("response", 1, "answer", PROMPT, "Paris", message))
    assert turn == UnscoredTurn("template_mismatch", "the template leaves the response out")


def test_a_response_whose_scaffold_depends_on_it_is_found_where_nothing_else_reads_like_it() -> None:
    unless_written = with_template(
        "{% for m in messages %}[{{ m.role }}]{{ '' if '<b>' in m.content else '<b>none</b>' }}{{ m.content }};"
        "{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    assert found(unless_written, "a <b> c") == "a <b> c"
    # It stands in the other scaffold as well, and nobody can tell which of the two a marker would have shown.
    assert refused(unless_written, "<b>none</b>").status == "template_mismatch"


def test_reasoning_that_the_template_leaves_out_is_a_mismatch_and_the_answer_is_not() -> None:
    for text in ("<think>plan</think>\n\nanswer", "<think>the answer</think>the answer", "plan</think>plan"):
        reasoning = answer_turn(PROMPT, text, part="reasoning")
        assert reasoning is not None
        turn = render_turn(load("qwen3"), reasoning)
        assert isinstance(turn, UnscoredTurn)
        assert turn.status == "template_mismatch"
        assert "leaves the reasoning out" in turn.reason
        assert found(load("qwen3"), text) == text.rpartition("</think>")[2].strip()


def test_a_prompt_that_is_no_prefix_is_a_mismatch() -> None:
    thinking = with_template(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant><think>{% endif %}"
    )
    turn = refused(thinking, "Fine.")
    assert turn.status == "template_mismatch"
    assert "prefix" in turn.reason


def test_a_refusing_template_gives_its_own_words() -> None:
    system = (Message("system", "Be kind."), *PROMPT)
    turn = refused(load("gemma2"), "Fine.", system)
    assert (turn.status, "System role not supported" in turn.reason) == ("template_refused", True)
    turn = refused(load("gemma2"), "Fine.", PROMPT + PROMPT)
    assert "must alternate" in turn.reason
    asked = answer_turn(system, "Fine.")
    assert asked is not None
    assert render_prompt_or_none(load("gemma2"), asked) is None
    assert render_prompt_or_none(load("llama"), asked) == render_prompt(load("llama"), asked)


def test_no_prompt_works_where_the_template_allows() -> None:
    assert found(load("llama"), "Fine.", ()) == "Fine."
    assert found(load("gpt2"), "Fine.", ()) == "Fine."
    # Qwen's template looks at the first message before it knows that there is one.
    assert refused(load("qwen2"), "Fine.", ()).status == "template_refused"


def test_lone_surrogates_are_replaced() -> None:
    assert found(load("llama"), "a\ud83db", (Message("user", "\udc00"),)) == "a\ufffdb"


@pytest.mark.parametrize("family", models.FAMILIES)
def test_earlier_assistant_turns_stay_in_the_prompt(family: str) -> None:
    prompt = (Message("user", "Hi"), Message("assistant", "Fine."), Message("user", "Why?"))
    assert found(load(family), "Fine.", prompt) == "Fine."
    turn = render_turn(load(family), answer_turn(prompt, "Fine."))
    assert isinstance(turn, RenderedTurn)
    assert turn.text[: turn.start].count("Fine.") == 1
