"""Response tokens to the letter: every template style × odd responses × kinds of tokenizers, against hand-made spans.

Pairs: model.template-model.chat, model.chat-model.tokens, model.tokens-model.hidden, samples-model.chat; against
tests/oracle.py and against what the author of each style says of it (tests/templates.py).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import time
import unicodedata
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from audit.model.chat import RenderedTurn, TokenizedTurn, UnscoredTurn, render_turn, tokenize_turns
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel, load_model
from audit.model.template import choose_template
from audit.samples import Message, Turn, answer_turn
from audit.samples.family import Conversation, find_turns
from audit.samples.messages import read_messages
from audit.samples.tools import read_tools
from tests import models, oracle
from tests.templates import STYLES, WEATHER_TOOL, Style, call_weather

pytestmark = pytest.mark.usefixtures("one_thread")
one_thread = models.one_thread

QUESTION = "How are you?"
ASKED = [{"role": "user", "content": QUESTION}]
MAX_TOKENS = 480
LAYER = 2

ODD_RESPONSES = {
    "a sentence": "Fine, thank you. And you?",
    "one letter": "I",
    "capitals and digits": "YES 123",
    "spaces around": "  two words   ",
    "line breaks around": "\n\nfirst\n- second\n\n",
    "tabs and no-break spaces": "\t\u00a0x\u2003y\u00a0",
    "emoji with joiners": "👩‍👩‍👧 and 😀",
    "composed marks": "caf\u00e9 Z\u00fcrich",
    "decomposed marks": "e\u0301\u0323 a\u0308",
    "right to left": "שלום עולם مرحبا",
    "zero width": "\u200bzero\u200b width\ufeff",
    "a word of the scaffold": "assistant",
    "a tag's name": "think",
    "an end token's name": "im_end",
    "an end token": "<|im_end|>",
    "another end token": "a </s> b",
    "a tag of a prompt": "[/INST]",
    "its own prompt": QUESTION,
    "a part of its prompt": "user",
    "code": "```python\nprint('x')\n```",
    "lone surrogates": "a\ud83d b",
    "digits of the marker": "7350",
}


@functools.cache
def _tiny() -> LoadedModel:
    model = load_model(model=str(models.model_path("llama")))
    config = copy.deepcopy(model.module.config)
    config.vocab_size = models.KIND_VOCABULARY
    torch.manual_seed(0)
    return dataclasses.replace(model, module=transformers.LlamaForCausalLM(config).eval())


@functools.cache
def load(name: str, kind: str = "byte") -> LoadedModel:
    """Return a tiny model whose tokenizer is of the kind and whose template is of the style."""
    style = STYLES[name]
    tokenizer = models.build_tokenizer_of_kind(kind, style.tokens, style.bos, style.eos)
    tokenizer.chat_template = style.text
    return dataclasses.replace(_tiny(), tokenizer=tokenizer, template=choose_template(tokenizer, name))


def answer(content: str, before: list[dict[str, str]] = ASKED) -> Turn:
    prompt = tuple(Message(message["role"], message["content"]) for message in before)
    return Turn("response", len(prompt), "answer", prompt, content, Message("assistant", content))


def said(content: str, before: list[dict[str, str]] = ASKED) -> list[dict[str, str]]:
    return [*before, {"role": "assistant", "content": content}]


def expected_span(style: Style, prompt: str, whole: str, left: str) -> tuple[int, int]:
    """Return the span that the style's author says, once it is seen to hold what is left of the response."""
    start, stop = len(prompt) + len(style.opening), len(whole) - len(style.closing)
    while whole[start:stop] != left and whole[start].isspace():
        start += 1
    while whole[start:stop] != left and whole[stop - 1].isspace():
        stop -= 1
    assert whole[start:stop] == left
    return start, stop


def check_span(style: Style, model: LoadedModel, content: str, before: list[dict[str, str]] = ASKED) -> Any:
    """Compare the span of a response, or the reason why there is none, with the style's; return the turn."""
    turn = render_turn(model, answer(content, before))
    clean = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in content)
    left = style.leaves(clean)
    if left is None or not style.is_prefix:
        assert isinstance(turn, UnscoredTurn), content
        assert turn.status == "template_mismatch"
        assert ("changes the response" if style.is_prefix else "no prefix") in turn.reason
        return turn
    assert isinstance(turn, RenderedTurn), (content, turn)
    prompt, whole = oracle.render_pair(model.tokenizer, said(clean, before))
    assert (turn.prompt_text, turn.text) == (prompt, whole)
    assert whole.startswith(prompt)
    assert (turn.start, turn.stop) == expected_span(style, prompt, whole, left), content
    return turn


@pytest.mark.parametrize("kind", models.TOKENIZER_KINDS)
@pytest.mark.parametrize("name", STYLES)
def test_odd_responses_are_found_to_the_character_and_to_the_token(name: str, kind: str) -> None:
    style, model = STYLES[name], load(name, kind)
    turns = [check_span(style, model, content) for content in ODD_RESPONSES.values()]
    rendered = [turn for turn in turns if isinstance(turn, RenderedTurn)]
    for turn, tokens in zip(rendered, tokenize_turns(model, rendered, MAX_TOKENS), strict=True):
        response = turn.text[turn.start : turn.stop]
        assert isinstance(tokens, TokenizedTurn), (response, tokens)
        ids = model.tokenizer(turn.text, add_special_tokens=False)["input_ids"]
        positions = oracle.find_positions(model.tokenizer, ids, turn.text, turn.start, turn.stop)
        assert list(range(tokens.start, tokens.stop)) == positions, response
        assert list(tokens.ids) == list(ids[: tokens.stop])
        assert not tokens.truncated
        check_spelling(model, response, tokens.ids[tokens.start : tokens.stop].tolist())


def check_spelling(model: LoadedModel, response: str, ids: list[int]) -> None:
    """See that the tokens spell the response, with nothing of the scaffold but white space that shares a token."""
    spelled = model.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    composed = unicodedata.normalize("NFC", response)
    assert unicodedata.normalize("NFC", spelled).strip() == composed.strip(), response
    if not any(token in response for token in model.tokenizer.all_special_tokens):
        assert not set(model.tokenizer.all_special_ids) & set(ids), response


@pytest.mark.parametrize("kind", models.TOKENIZER_KINDS)
@pytest.mark.parametrize("name", [name for name, style in STYLES.items() if style.is_prefix])
def test_the_mean_over_the_response_is_the_definitions(name: str, kind: str) -> None:
    style, model = STYLES[name], load(name, kind)
    contents = ["  YES 123\n- É ", ODD_RESPONSES["emoji with joiners"].upper(), "שלום"]
    rendered = [check_span(style, model, content) for content in contents]
    tokens = [turn for turn in tokenize_turns(model, rendered, MAX_TOKENS) if isinstance(turn, TokenizedTurn)]
    vector_ld = np.random.default_rng(3).normal(size=(models.N_LAYERS + 1, models.D_HIDDEN)).astype(np.float32)
    unit_d = vector_ld[LAYER] / np.linalg.norm(vector_ld[LAYER])
    found = project_turns(model, tokens, units={"evil": (LAYER, unit_d)}, batch_tokens=2000)
    for row, turn in enumerate(rendered):
        wanted = oracle.score_span(
            model.module, model.tokenizer, turn.text, turn.start, turn.stop, vector_ld=vector_ld, layer=LAYER
        )
        assert found.projection_nk[row, 0] == pytest.approx(wanted.projection, abs=1e-5)
        assert found.prompt_projection_nk[row, 0] == pytest.approx(wanted.prompt_projection, abs=1e-5)


@pytest.mark.parametrize("name", STYLES)
def test_earlier_turns_and_system_messages_stay_before_the_response(name: str) -> None:
    style, model = STYLES[name], load(name)
    earlier = [*said("FINE."), *ASKED]
    for content in ("FINE.", QUESTION.upper(), "2"):
        turn = check_span(style, model, content, earlier)
        assert not isinstance(turn, RenderedTurn) or "FINE." in turn.prompt_text
    system = [{"role": "system", "content": "BE FINE."}, *ASKED]
    if style.takes_system:
        turn = check_span(style, model, "FINE.", system)
        assert not isinstance(turn, RenderedTurn) or "BE FINE." in turn.prompt_text
    else:
        unscored = render_turn(model, answer("FINE.", system))
        assert isinstance(unscored, UnscoredTurn)
        assert unscored.status in ("template_refused", "template_mismatch")


def test_a_system_message_that_moves_behind_the_response_is_a_mismatch_and_not_a_part_of_it() -> None:
    system = [{"role": "system", "content": "Be kind."}, *ASKED]
    turn = render_turn(load("system_behind"), answer("Be kind.", system))
    assert isinstance(turn, UnscoredTurn)
    assert (turn.status, "no prefix" in turn.reason) == ("template_mismatch", True)


@pytest.mark.parametrize("kind", models.TOKENIZER_KINDS)
@pytest.mark.parametrize("name", [name for name, style in STYLES.items() if style.is_prefix])
def test_a_hundred_thousand_characters_are_cut_at_the_end_of_the_response(name: str, kind: str) -> None:
    style, model = STYLES[name], load(name, kind)
    long = "A LONG ANSWER, " * 6_667
    started = time.process_time()
    turn = check_span(style, model, long)
    (tokens,) = tokenize_turns(model, [turn], MAX_TOKENS)
    assert time.process_time() - started < 1.0
    assert isinstance(tokens, TokenizedTurn)
    assert (tokens.stop, tokens.truncated) == (MAX_TOKENS, True)
    ids = model.tokenizer(turn.text[: turn.start + 4_000], add_special_tokens=False)["input_ids"]
    assert list(tokens.ids) == list(ids[:MAX_TOKENS])
    (alone,) = tokenize_turns(model, [check_span(style, model, long[:30])], MAX_TOKENS)
    assert isinstance(alone, TokenizedTurn)
    assert alone.start == tokens.start
    (no_room,) = tokenize_turns(model, [turn], tokens.start)
    assert isinstance(no_room, UnscoredTurn)
    assert no_room.status == "prompt_too_long"


@pytest.mark.parametrize("kind", models.TOKENIZER_KINDS)
def test_a_hundred_thousand_characters_of_prompt_leave_no_room(kind: str) -> None:
    turn = render_turn(load("chatml", kind), answer("Fine.", [{"role": "user", "content": "What? " * 16_667}]))
    assert isinstance(turn, RenderedTurn)
    started = time.process_time()
    (unscored,) = tokenize_turns(load("chatml", kind), [turn], MAX_TOKENS)
    assert time.process_time() - started < 0.5
    assert isinstance(unscored, UnscoredTurn)
    assert (unscored.status, str(MAX_TOKENS) in unscored.reason) == ("prompt_too_long", True)


# Reasoning


def reasoning_turns(name: str, *messages: dict[str, Any], tools: Any = None) -> dict[str, Any]:
    """Return the parts of the last assistant turn of a record's messages, rendered."""
    read = read_messages([*ASKED, *messages], "messages")
    turns = find_turns((Conversation("response", read, read_tools({"tools": tools})),), which="last")
    return {turn.part: render_turn(load(name), turn) for turn in turns}


def shown(turn: RenderedTurn | UnscoredTurn) -> str:
    assert isinstance(turn, RenderedTurn), turn
    return turn.text[turn.start : turn.stop]


def think(content: str, **fields: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


PLANS = ["a plan", "the answer", "\nline\n\nline\n", "think", "<", "assistant", "é 😀"]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("key", ["reasoning_content", "thinking", "reasoning", None])
def test_qwens_style_keeps_reasoning_of_either_kind(key: str | None, plan: str) -> None:
    message = think("the answer", **{key: plan}) if key else think(f"<think>{plan}</think>\n\nthe answer")
    parts = reasoning_turns("qwen_3", message)
    assert (shown(parts["reasoning"]), shown(parts["answer"])) == (plan.strip("\n"), "the answer")
    prompt, whole = oracle.render_pair(load("qwen_3").tokenizer, [*ASKED, message])
    start, stop = oracle.find_reasoning(whole, prompt)
    assert (parts["reasoning"].text, parts["reasoning"].start, parts["reasoning"].stop) == (whole, start, stop)
    assert parts["answer"].start == whole.index("</think>", stop) + len("</think>\n\n")


@pytest.mark.parametrize("plan", PLANS)
def test_harmonys_style_keeps_reasoning_from_a_field_in_a_channel_of_its_own(plan: str) -> None:
    message = think("the answer", thinking=plan)
    parts = reasoning_turns("harmony", message)
    assert (shown(parts["reasoning"]), shown(parts["answer"])) == (plan, "the answer")
    prompt, whole = oracle.render_pair(load("harmony").tokenizer, [*ASKED, message])
    start, stop = oracle.find_reasoning(whole, prompt, "analysis<|message|>", "<|end|>")
    assert shown(parts["reasoning"]).strip() == whole[start:stop]
    assert parts["answer"].text[: parts["answer"].start].endswith("final<|message|>")


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", [name for name, style in STYLES.items() if style.thinks == "content"])
def test_styles_that_know_no_reasoning_keep_a_block_that_is_text_of_the_content(name: str, plan: str) -> None:
    plan, closed = plan.upper(), f"<think>{plan.upper()}</think>\n\n42"
    parts = reasoning_turns(name, think(closed))
    assert shown(parts["answer"]) == "42"
    if name == "squeezed" and "\n\n" in plan:
        assert isinstance(parts["reasoning"], UnscoredTurn)
        assert "changes the reasoning" in parts["reasoning"].reason
        return
    assert shown(parts["reasoning"]) == plan
    assert parts["reasoning"].text == parts["answer"].text
    assert parts["reasoning"].text[: parts["reasoning"].start].lower().endswith("<think>")


@pytest.mark.parametrize("name", [name for name, style in STYLES.items() if style.thinks == "content"])
def test_styles_that_know_no_reasoning_leave_out_what_stands_in_a_field(name: str) -> None:
    parts = reasoning_turns(name, think("42", reasoning_content="42"))
    assert isinstance(parts["reasoning"], UnscoredTurn)
    assert parts["reasoning"].status == "template_mismatch"
    assert "leaves the reasoning out" in parts["reasoning"].reason
    assert shown(parts["answer"]) == "42"


@pytest.mark.parametrize("plan", ["a plan", "the answer", "think"])
@pytest.mark.parametrize("opening", ["<think>\n", ""])
def test_deepseeks_style_leaves_reasoning_out_and_keeps_the_answer(plan: str, opening: str) -> None:
    parts = reasoning_turns("deepseek", think(f"{opening}{plan}</think>the answer"))
    assert isinstance(parts["reasoning"], UnscoredTurn)
    assert parts["reasoning"].status == "template_mismatch"
    assert "leaves the reasoning out" in parts["reasoning"].reason
    assert shown(parts["answer"]) == "the answer"
    assert plan == "the answer" or plan not in parts["answer"].text


def test_a_generation_prompt_that_opens_a_block_is_no_prefix_of_a_rendering_without_one() -> None:
    for message in (think("Fine."), think("<think>\nplan</think>Fine."), think("Fine.", reasoning_content="plan")):
        for turn in reasoning_turns("deepseek_open", message).values():
            assert isinstance(turn, UnscoredTurn)
            assert (turn.status, "no prefix" in turn.reason) == ("template_mismatch", True)


def test_a_generation_prompt_that_opens_a_block_that_the_template_keeps_is_followed_by_the_reasoning() -> None:
    text = STYLES["chatml"].text.replace("assistant\n' }}{% endif", "assistant\n<think>\n' }}{% endif")
    model = load("chatml")
    opened = dataclasses.replace(model, template=dataclasses.replace(model.template, text=text))
    for plan in ("plan", "42", "two\nlines"):
        content = f"<think>\n{plan}\n</think>\n\n42"
        reasoning, result = (
            answer_turn((Message("user", "?"),), content, part=part) for part in ("reasoning", "answer")
        )
        assert reasoning is not None
        assert result is not None
        turn = render_turn(opened, reasoning)
        assert shown(turn).strip() == plan
        assert isinstance(turn, RenderedTurn)
        assert turn.prompt_text.endswith("<think>\n")
        assert turn.start == len(turn.prompt_text)
        assert shown(render_turn(opened, result)) == "42"


def test_a_block_that_never_closes_is_reasoning_without_an_answer() -> None:
    for name in ("chatml", "llama_3", "deepseek", "qwen_3"):
        parts = reasoning_turns(name, think("<think>\na plan"))
        assert shown(parts["reasoning"]).strip() == "a plan"
        assert parts["answer"] == UnscoredTurn("empty_response", "there is reasoning and no answer")


def test_a_block_without_its_opening_tag_is_reasoning() -> None:
    parts = reasoning_turns("chatml", think("a plan\n</think>\n\nFine."))
    assert (shown(parts["reasoning"]), shown(parts["answer"])) == ("a plan\n", "Fine.")
    parts = reasoning_turns("qwen_3", think("a plan\n</think>\n\nFine."))
    assert (shown(parts["reasoning"]), shown(parts["answer"])) == ("a plan", "Fine.")


@pytest.mark.parametrize("content", ["Write <think> and then </think>, please.", "a</think>b</think>c"])
def test_a_text_that_speaks_of_the_tags_is_one_answer(content: str) -> None:
    assert {part: shown(turn) for part, turn in reasoning_turns("chatml", think(content)).items()} == {
        "answer": content
    }
    assert shown(reasoning_turns("block_unless_written", think(content))["answer"]) == content
    # These styles cut such a text in two: what is left is not what the record says.
    for name in ("qwen_3", "deepseek"):
        unscored = reasoning_turns(name, think(content))["answer"]
        assert isinstance(unscored, UnscoredTurn)
        assert unscored.status == "template_mismatch"


@pytest.mark.parametrize("name", ["chatml", "qwen_3", "deepseek", "block_unless_written"])
def test_an_empty_block_is_scaffold_and_no_reasoning(name: str) -> None:
    parts = reasoning_turns(name, think("<think>\n\n</think>\n\nFine."))
    assert {part: shown(turn).strip() for part, turn in parts.items()} == {"answer": "Fine."}


def test_earlier_reasoning_is_dropped_where_the_style_drops_it_and_the_answer_is_still_found() -> None:
    messages = [think("One.", reasoning_content="first plan"), *ASKED, think("Two.", reasoning_content="second plan")]
    parts = reasoning_turns("qwen_3", *messages)
    assert (shown(parts["reasoning"]), shown(parts["answer"])) == ("second plan", "Two.")
    assert "first plan" not in parts["answer"].text
    assert "One." in parts["answer"].prompt_text


# Tools


def tool_chat(*, as_text: bool = False) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": "Is there rain in Paris?"},
        {"role": "assistant", "content": "", "tool_calls": call_weather("Paris", as_text=as_text)},
        {"role": "tool", "content": "rain: yes", "tool_call_id": "call00000", "name": "weather"},
        {"role": "assistant", "content": "YES: rain."},
        {"role": "user", "content": "And in Rome?"},
        {"role": "assistant", "content": "LOOKING", "tool_calls": call_weather("LOOKING", as_text=as_text)},
    ]


def tool_turns(*, as_text: bool = False, messages: list[dict[str, Any]] | None = None) -> tuple[Turn, ...]:
    read = read_messages(messages or tool_chat(as_text=as_text), "messages")
    return find_turns((Conversation("response", read, read_tools({"tools": [WEATHER_TOOL]})),))


TOOL_STYLES = [name for name, style in STYLES.items() if style.takes_tools]


@pytest.mark.parametrize("name", TOOL_STYLES)
def test_tools_calls_and_results_are_rendered_as_transformers_renders_them(name: str) -> None:
    model = load(name)
    for turn in tool_turns()[:2]:
        messages = tool_chat()[: turn.turn + 1]
        prompt, whole = oracle.render_pair(model.tokenizer, messages, [WEATHER_TOOL])
        ours = [*turn.prompt, turn.message]
        assert model.template.render(turn.prompt, is_prompt=True, tools=turn.tools) == prompt
        assert model.template.render(ours, is_prompt=False, tools=turn.tools) == whole


@pytest.mark.parametrize("name", TOOL_STYLES)
def test_an_answer_after_a_tools_message_has_it_in_its_prompt(name: str) -> None:
    model, turn = load(name), tool_turns()[1]
    rendered = render_turn(model, turn)
    assert shown(rendered) == "YES: rain."
    assert isinstance(rendered, RenderedTurn)
    assert (rendered.prompt_text, rendered.text) == oracle.render_pair(model.tokenizer, tool_chat()[:4], [WEATHER_TOOL])
    assert "rain: yes" in rendered.prompt_text
    assert "Weather of a city." in rendered.prompt_text


def test_a_turn_of_calls_alone_is_not_for_scoring() -> None:
    call, answered, beside = tool_turns()
    assert call.unscored is not None
    assert call.unscored.startswith("tool_call: ")
    assert (answered.unscored, beside.unscored) == (None, None)


def test_text_beside_a_call_is_scored_where_the_template_keeps_it() -> None:
    beside = tool_turns()[2]
    turn = render_turn(load("qwen_3"), beside)
    assert shown(turn) == "LOOKING"
    assert isinstance(turn, RenderedTurn)
    assert turn.text[turn.stop :].startswith("\n<tool_call>")


@pytest.mark.parametrize("name", ["llama_31_tools", "mistral"])
def test_text_beside_a_call_that_the_template_drops_is_not_looked_for_in_the_call(name: str) -> None:
    unscored = render_turn(load(name), tool_turns()[2])
    assert isinstance(unscored, UnscoredTurn)
    assert unscored.status == "template_mismatch"
    assert "leaves the response out" in unscored.reason


@pytest.mark.parametrize("name", TOOL_STYLES)
def test_arguments_as_text_and_as_objects_render_the_same(name: str) -> None:
    pairs = zip(tool_turns(as_text=False), tool_turns(as_text=True), strict=True)
    for one, other in pairs:
        assert render_turn(load(name), one) == render_turn(load(name), other)
    assert tool_turns() == tool_turns(as_text=True)


def test_what_a_style_does_not_take_is_refused_in_its_own_words() -> None:
    wrong_id = tool_chat()
    wrong_id[1]["tool_calls"][0]["id"] = "too_long_an_id"
    refused = render_turn(load("mistral"), tool_turns(messages=wrong_id)[1])
    assert isinstance(refused, UnscoredTurn)
    assert (refused.status, "9 characters" in refused.reason) == ("template_refused", True)
    two_calls = tool_chat()
    two_calls[1]["tool_calls"] = call_weather("Paris", "Rome")
    refused = render_turn(load("llama_31_tools"), tool_turns(messages=two_calls)[1])
    assert isinstance(refused, UnscoredTurn)
    assert (refused.status, "One call" in refused.reason) == ("template_refused", True)
    refused = render_turn(load("gemma"), tool_turns()[1])
    assert isinstance(refused, UnscoredTurn)
    assert (refused.status, "alternate" in refused.reason) == ("template_refused", True)
