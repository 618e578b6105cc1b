"""Render a conversation through the model's template and find the response in it, as text.

One rendering of the messages up to and including the turn; the response is its answer, or its reasoning, as the
template leaves it, without the scaffold around it. Turning the text into tokens is `audit.model.tokens`, re-exported
here.
"""

from __future__ import annotations

from dataclasses import replace

from audit.model.load import LoadedModel
from audit.model.template import MARKER, TEMPLATE_DATE, TemplateRefusal
from audit.model.tokens import tokenize_turns
from audit.model.turns import RenderedTurn, TokenizedTurn, UnscoredTurn
from audit.samples import Message, Turn, read_parts, replace_part
from audit.samples.text import clean_text

__all__ = [
    "TEMPLATE_DATE",
    "RenderedTurn",
    "TokenizedTurn",
    "UnscoredTurn",
    "render_prompt",
    "render_prompt_or_none",
    "render_turn",
    "takes_system",
    "tokenize_turns",
]


def render_prompt(model: LoadedModel, turn: Turn) -> str:
    """Render the messages before a turn, with the generation prompt.

    Raises:
        TemplateRefusal: the template does not take these messages.
    """
    return model.template.render(_clean_messages(turn.prompt), is_prompt=True, tools=turn.tools)


def render_prompt_or_none(model: LoadedModel, turn: Turn) -> str | None:
    """Render as `render_prompt` does; None if the template does not take these messages."""
    try:
        return render_prompt(model, turn)
    except TemplateRefusal:
        return None


def takes_system(model: LoadedModel) -> bool:
    """Tell whether the template writes a system prompt: some refuse it, and some leave it out without a word."""
    messages = (Message("system", MARKER), Message("user", "Hello"))
    turn = Turn("response", len(messages), "answer", messages, "", Message("assistant", ""))
    return MARKER in (render_prompt_or_none(model, turn) or "")


def render_turn(model: LoadedModel, turn: Turn) -> RenderedTurn | UnscoredTurn:
    """Render a turn and find its part: the text, as is or trimmed, behind the rendered prompt.

    A turn that cannot be scored is returned as an `UnscoredTurn` with status `empty_response`, `template_refused`
    or `template_mismatch`.
    """
    if not turn.response.strip():
        return UnscoredTurn("empty_response", _describe_empty(turn))
    messages = _clean_messages(turn.prompt)
    message = _clean_message(turn.message)
    template = model.template
    try:
        prompt_text = template.render(messages, is_prompt=True, tools=turn.tools)
        text = template.render([*messages, message], is_prompt=False, tools=turn.tools)
        if not text.startswith(prompt_text):
            return UnscoredTurn(
                "template_mismatch", "the rendered prompt is no prefix of the rendered prompt with its response"
            )
        marked_message = replace_part(message, turn.part, MARKER)
        marked = template.render([*messages, marked_message], is_prompt=False, tools=turn.tools)
    except TemplateRefusal as error:
        return UnscoredTurn("template_refused", f"the chat template refuses it: {error}")
    span = _find_span(text, len(prompt_text), read_parts(message)[turn.part], marked)
    if span is None:
        return UnscoredTurn("template_mismatch", _describe_mismatch(turn.part, is_left_out=MARKER not in marked))
    return RenderedTurn(text, *span, prompt_text)


def _describe_empty(turn: Turn) -> str:
    if "reasoning" in read_parts(turn.message) and turn.part == "answer":
        return "there is reasoning and no answer"
    return "the response is white space" if turn.response else "the response is empty"


def _describe_mismatch(part: str, *, is_left_out: bool) -> str:
    noun = "reasoning" if part == "reasoning" else "response"
    if is_left_out:
        return f"the template leaves the {noun} out"
    return f"the template changes the {noun}: it is not behind the prompt as it was written"


def _clean_messages(messages: tuple[Message, ...]) -> list[Message]:
    return [_clean_message(message) for message in messages]


def _clean_message(message: Message) -> Message:
    # Files are read without lone surrogates; a message that a program makes may hold some, and no tokenizer takes them.
    return replace(message, content=clean_text(message.content), reasoning=clean_text(message.reasoning))


def _find_span(text: str, prompt_stop: int, content: str, marked: str) -> tuple[int, int] | None:
    """Return the span of `content`, or of its trimmed form, in `text` at or behind `prompt_stop`.

    The scaffold, the other part of the turn or a tool call may happen to contain the same text. `marked`, the same
    conversation with a marker in place of the content, tells them apart: what the template leaves of the content is
    what stands between the marker's surroundings.
    """
    before, marker, after = marked.rpartition(MARKER)
    if not marker:
        return None  # whatever looks like the content in `text` is something else
    core = content.strip()
    # White space that ends the prompt may be the content's own: a prompt that opens a reasoning block ends so.
    start, stop = max(len(before), prompt_stop), len(text) - len(after)
    is_around = text.startswith(before) and text.endswith(after) and not text[len(before) : start].strip()
    if is_around and text[start:stop].strip() == core:
        return start, stop
    # The template may write another scaffold around this content than around the marker, such as no empty think block
    # where the content speaks of one. Then the content is sure only where nothing else reads like it.
    scaffold = f"{before[prompt_stop:]}\0{after}"
    for wanted in (content, core):
        start = text.find(wanted, prompt_stop)
        if start >= 0 and start == text.rfind(wanted) and wanted not in scaffold:
            return start, start + len(wanted)
    return None
