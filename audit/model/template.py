"""The chat template of a model: its own, or a named plain one for models that have none.

A template is rendered by transformers' own Jinja environment, with one departure: dates are fixed, so that a scan
gives the same scores tomorrow. Knows neither tokens nor response spans.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import _compile_jinja_template

from audit.errors import ModelError
from audit.samples.reasoning import OPENING
from audit.samples.sample import Message

TEMPLATE_DATE = datetime.date(2024, 7, 26)
"""The date that every template sees as today; the day that Llama's templates fall back to."""

PLAIN_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] | trim }}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""For models without a chat template. Contents are trimmed: a model goes on after `Assistant:` with a space."""


PLAIN_STOP = "\n\nUser:"
"""Where a model without end-of-turn tokens begins to speak for the user: its answer ends there."""

MARKER = "\u20607350\u20601826\u20604"
"""Stands in for a response, to see what a template writes around one; no dataset and no template contains it.

Digits, so that a template that changes case is seen to change the response, not to leave it out.
"""


# Templates are small programs: a message they did not foresee ends in any of these.
_PROGRAM_ERRORS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)


class TemplateRefusal(ValueError):
    """The template does not take these messages; the text is the template's own. Callers make a skipped turn of it."""


@dataclass(frozen=True, slots=True)
class Template:
    """A chat template and the variables it is rendered with.

    Attributes:
        name: `model` for the model's own template, else the name of a built-in one (`plain`).
        text: Jinja source.
        variables: special tokens by name, such as `bos_token`.
    """

    name: str
    text: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Hash of the template's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def render(self, messages: Sequence[Message], *, is_prompt: bool, tools: str = "") -> str:
        """Render messages, with the tools that they may call; `is_prompt` appends what stands before a response.

        Raises:
            TemplateRefusal: the template raises an exception, or cannot be rendered with these messages.
        """
        try:
            text: str = _compile_jinja_template(self.text).render(
                messages=[_as_variables(message) for message in messages],
                tools=json.loads(tools) if tools else None,
                documents=None,
                add_generation_prompt=is_prompt,
                strftime_now=TEMPLATE_DATE.strftime,
                **self.variables,
            )
        except (TemplateError, *_PROGRAM_ERRORS) as error:
            raise TemplateRefusal(str(error) or type(error).__name__) from error
        return text

    def closing(self) -> str:
        """Return what the template writes right after a response, its end-of-turn token first; empty if unknown."""
        messages = [Message("user", "Hello"), Message("assistant", MARKER)]
        try:
            return self.render(messages, is_prompt=False).rpartition(MARKER)[2]
        except TemplateRefusal:
            return ""

    def opens_reasoning(self) -> bool:
        """Tell whether the generation prompt begins a reasoning block that the response has to close."""
        try:
            prompt = self.render([Message("user", "Hello")], is_prompt=True)
        except TemplateRefusal:
            return False
        return prompt.rstrip().endswith(OPENING)


def _as_variables(message: Message) -> dict[str, Any]:
    """Return a message under the names that templates look for; what it does not have is absent, not empty."""
    variables: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        # Qwen looks for the first, gpt-oss for the second, and older templates for the third.
        variables |= dict.fromkeys(("reasoning_content", "thinking", "reasoning"), message.reasoning)
    if message.tool_calls:
        variables["tool_calls"] = json.loads(message.tool_calls)
    for name in ("name", "tool_call_id"):
        if value := getattr(message, name):
            variables[name] = value
    return variables


def choose_template(tokenizer: Any, place: str) -> Template:
    """Return the tokenizer's chat template, or the plain one if it has none.

    Raises:
        ModelError: the template is no valid Jinja, or none of several is the default.
    """
    special_tokens = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    if not tokenizer.chat_template:
        bos_token = special_tokens.get("bos_token", "") if _adds_bos(tokenizer) else ""
        return Template("plain", PLAIN_TEMPLATE, {"bos_token": bos_token})
    cure = "mend chat_template.jinja, or remove it to use the plain template"
    try:
        template = Template("model", str(tokenizer.get_chat_template()), special_tokens)
        _compile_jinja_template(template.text)
    except (TemplateError, ValueError) as error:
        raise ModelError(place, f"the chat template cannot be used: {str(error).splitlines()[0]}", cure) from error
    return template


def _adds_bos(tokenizer: Any) -> bool:
    ids = tokenizer("a")["input_ids"]
    return tokenizer.bos_token_id is not None and list(ids[:1]) == [tokenizer.bos_token_id]
