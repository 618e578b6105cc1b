"""Render a conversation through the model's template and find the response in it, as text.

One rendering of the messages up to and including the turn; the response is the content as the template leaves it,
without the scaffold around it. Turning the text into tokens is `audit.model.tokens`, re-exported here.
"""

from __future__ import annotations

from audit.model.load import LoadedModel
from audit.model.template import MARKER, TEMPLATE_DATE, Template, TemplateRefusal
from audit.model.tokens import tokenize_turns
from audit.model.turns import RenderedTurn, TokenizedTurn, UnscoredTurn
from audit.samples.sample import Message

__all__ = [
    "TEMPLATE_DATE",
    "RenderedTurn",
    "TokenizedTurn",
    "UnscoredTurn",
    "render_prompt",
    "render_prompt_or_none",
    "render_turn",
    "tokenize_turns",
]


def render_prompt(model: LoadedModel, prompt: tuple[Message, ...]) -> str:
    """Render the messages before a turn, with the generation prompt.

    Raises:
        TemplateRefusal: the template does not take these messages.
    """
    return model.template.render(_clean_messages(prompt), is_prompt=True)


def render_prompt_or_none(model: LoadedModel, prompt: tuple[Message, ...]) -> str | None:
    """Render as `render_prompt` does; None if the template does not take these messages."""
    try:
        return render_prompt(model, prompt)
    except TemplateRefusal:
        return None


def render_turn(model: LoadedModel, prompt: tuple[Message, ...], response: str) -> RenderedTurn | UnscoredTurn:
    """Render a turn and find its response: the content, as is or trimmed, behind the rendered prompt.

    A turn that cannot be scored is returned as an `UnscoredTurn` with status `empty_response`, `template_refused`
    or `template_mismatch`.
    """
    content = replace_surrogates(response)
    core = content.strip()
    if not core:
        return UnscoredTurn("empty_response", "the response is empty" if not content else "the response is white space")
    messages = _clean_messages(prompt)
    try:
        prompt_text = model.template.render(messages, is_prompt=True)
        text = model.template.render([*messages, Message("assistant", content)], is_prompt=False)
        if not text.startswith(prompt_text):
            return UnscoredTurn(
                "template_mismatch", "the rendered prompt is no prefix of the rendered prompt with its response"
            )
        span = _find_content(model.template, messages, text, len(prompt_text), content, core)
    except TemplateRefusal as error:
        return UnscoredTurn("template_refused", f"the chat template refuses it: {error}")
    if span is None:
        return UnscoredTurn("template_mismatch", "the template changes the response: it is not behind the prompt")
    return RenderedTurn(text, *span, prompt_text)


def replace_surrogates(text: str) -> str:
    """Put U+FFFD in place of lone surrogates, one for one: tokenizers take valid Unicode only."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    return text


def _clean_messages(messages: tuple[Message, ...]) -> list[Message]:
    return [Message(message.role, replace_surrogates(message.content)) for message in messages]


def _find_content(
    template: Template, messages: list[Message], text: str, prompt_stop: int, content: str, core: str
) -> tuple[int, int] | None:
    """Return the span of `content` (or of `core`, its trimmed form) in `text` at or after `prompt_stop`.

    The first occurrence is the response, unless the scaffold before it happens to contain the same text (a response
    `think` behind an empty think block): then, and where white space could be the content's or the scaffold's, a
    second rendering with a marker in place of the response tells them apart.
    """
    first = text.find(core, prompt_stop)
    if first < 0:
        return None
    is_sure = content == core and text.find(core, first + 1) < 0
    if is_sure:
        return first, first + len(core)
    before, _, after = template.render([*messages, Message("assistant", MARKER)], is_prompt=False).rpartition(MARKER)
    # What the template leaves of the content is what stands between the marker's surroundings.
    left = text[len(before) : len(text) - len(after)]
    if len(before) >= prompt_stop and text.startswith(before) and text.endswith(after) and left.strip() == core:
        return len(before), len(before) + len(left)
    # The template treats the marker and this content differently; the plain rule is what remains.
    as_is = text.find(content, prompt_stop)
    return (as_is, as_is + len(content)) if as_is >= 0 else (first, first + len(core))
