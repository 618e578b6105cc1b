"""Message lists and texts as datasets write them, brought to `Message(role, content)`.

Knows the spellings that several families share (role and from, content and value); knows no family.
A lone surrogate, which JSON can spell and no tokenizer takes, becomes U+FFFD here.
"""

from __future__ import annotations

from typing import Any

from audit.samples.family import Fields, UnreadableRecord
from audit.samples.hh_text import opens_hh_turns, split_hh_turns
from audit.samples.sample import Message

_ROLES = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "observation": "tool",
}
# A call that ShareGPT keeps as a turn of its own: like `tool_calls`, it holds no prose to score.
_CALL_ROLES = frozenset({"function_call", "tool_call"})
_TEXT_PARTS = ("text", "input_text", "output_text", None)


def clean_text(text: str) -> str:
    """Return the text with each lone surrogate replaced by U+FFFD; any other text as it is."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def read_text(value: Any, field: str) -> str:
    """Return the text of a field: a string, a list of text parts joined, or nothing for null.

    Raises:
        UnreadableRecord: the value is of another kind, such as a number, or holds an image.
    """
    if isinstance(value, str):
        return clean_text(value)
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(_read_part(part, field) for part in value)
    raise UnreadableRecord(f"unsupported_content: '{field}' is {kind_of(value)}, not text")


def _read_part(part: Any, field: str) -> str:
    if isinstance(part, str):
        return clean_text(part)
    if not isinstance(part, dict):
        raise UnreadableRecord(f"unsupported_content: a part of '{field}' is {kind_of(part)}, not text")
    kind = part.get("type", "text")
    if kind not in _TEXT_PARTS or not isinstance(part.get("text"), str):
        raise UnreadableRecord(f"unsupported_content: a part of '{field}' is of type {kind!r}, not text")
    return clean_text(part["text"])


def read_messages(value: Any, field: str) -> tuple[Message, ...]:
    """Return the messages of a list of {role, content} or {from, value} objects.

    Raises:
        UnreadableRecord: no list of objects, a role that is missing or unknown, content that is no text.
    """
    if not isinstance(value, list):
        raise UnreadableRecord(f"bad_messages: '{field}' is {kind_of(value)}, not a list")
    return tuple(_read_message(item, field, position) for position, item in enumerate(value))


def _read_message(item: Any, field: str, position: int) -> Message:
    if not isinstance(item, dict):
        raise UnreadableRecord(f"bad_messages: message {position} of '{field}' is {kind_of(item)}, not an object")
    named = item.get("role")
    if named is None:
        named = item.get("from")
    if not isinstance(named, str):
        raise UnreadableRecord(f"unknown_role: message {position} of '{field}' names no role")
    spelled = named.strip().lower()
    if spelled in _CALL_ROLES:
        return Message("assistant", "")
    role = _ROLES.get(spelled)
    if role is None:
        raise UnreadableRecord(f"unknown_role: message {position} of '{field}' has the role {clean_text(named)!r}")
    content = item.get("content")
    if content is None:
        content = item.get("value")
    return Message(role, read_text(content, f"{field}[{position}]"))


def read_system(record: Fields, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the messages headed by the record's own `system` text, unless they open with one."""
    if not record.get("system") or (messages and messages[0].role == "system"):
        return messages
    return (Message("system", read_text(record["system"], "system")), *messages)


def read_instruction(record: Fields) -> tuple[Message, ...]:
    """Return the user message that `instruction` and `input` make: the one, a blank line, the other."""
    texts = [read_text(record.get(key), key) for key in ("instruction", "input")]
    content = "\n\n".join(text for text in texts if text)
    return (Message("user", content),) if content else ()


def read_prompt(prompt: Any, field: str) -> tuple[Message, ...]:
    """Return the messages of a prompt: a list of them, or a text as the user's; none for an empty one."""
    if isinstance(prompt, list):
        return read_messages(prompt, field)
    text = read_text(prompt, field)
    return (Message("user", text),) if text else ()


def join_response(prompt: Any, response: str, field: str) -> tuple[Message, ...]:
    """Return a prompt and the response to it as messages; an hh-style prompt is taken apart."""
    text = "" if isinstance(prompt, list) else read_text(prompt, field)
    if not opens_hh_turns(text):
        return (*read_prompt(prompt, field), Message("assistant", response))
    if text.rstrip().endswith("Assistant:"):
        return split_hh_turns(text + response)
    return (*split_hh_turns(text), Message("assistant", response))


def kind_of(value: Any) -> str:
    """Name the kind of a JSON value, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")
