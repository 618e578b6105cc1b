"""Message lists and texts as datasets write them, brought to `Message`.

Knows the spellings that several families share (role and from, content and value); knows no family.
A lone surrogate, which JSON can spell and no tokenizer takes, becomes U+FFFD here.
"""

from __future__ import annotations

import json
from typing import Any

from audit.samples.family import Fields, UnreadableRecord
from audit.samples.hh_text import opens_hh_turns, split_hh_turns
from audit.samples.sample import Message
from audit.samples.text import clean_text, kind_of
from audit.samples.tools import read_tool_calls, read_written_call

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
    "tool_response": "tool",
}
# A call that ShareGPT keeps as a turn of its own: like `tool_calls`, it holds no prose to score.
_CALL_ROLES = frozenset({"function_call", "tool_call"})
_TEXT_PARTS = ("text", "input_text", "output_text", None)
_REASONING_PARTS = ("thinking", "reasoning")
_REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")


def read_text(value: Any, field: str) -> str:
    """Return the text of a field: a string, a list of text parts joined, or nothing for null.

    Raises:
        UnreadableRecord: the value is of another kind, such as a number, holds an image, or is a list of texts, which
            are as likely alternatives as parts.
    """
    if isinstance(value, list) and any(isinstance(part, str) for part in value):
        raise UnreadableRecord(f"unsupported_content: '{field}' is a list of {len(value)} texts, not one")
    return _read_content(value, field)


def _read_content(value: Any, field: str) -> str:
    """Return the text of a message's content, whose parts may be bare strings."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(_read_part(part, field) for part in value if not _is_reasoning(part))
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
    named = _either(item, "role", "from")
    if not isinstance(named, str):
        raise UnreadableRecord(f"unknown_role: message {position} of '{field}' names no role")
    spelled = named.strip().lower()
    content, place = _either(item, "content", "value"), f"{field}[{position}]"
    if spelled in _CALL_ROLES:
        call = read_written_call(json.dumps(content) if isinstance(content, dict) else read_text(content, place))
        return Message("assistant", "", tool_calls=call, untrained=_find_untrained(item))
    role = _ROLES.get(spelled)
    if role is None:
        raise UnreadableRecord(f"unknown_role: message {position} of '{field}' has the role {clean_text(named)!r}")
    if role != "assistant":
        name, call_id = _string(item, "name"), _string(item, "tool_call_id")
        return Message(role, _read_content(content, place), name=name, tool_call_id=call_id)
    return Message(
        role,
        _read_content(content, place),
        reasoning=_read_reasoning(item, content, place),
        tool_calls=read_tool_calls(item, place),
        untrained=_find_untrained(item),
    )


def _either(item: dict[str, Any], first: str, second: str) -> Any:
    value = item.get(first)
    return item.get(second) if value is None else value


def _string(item: dict[str, Any], key: str) -> str:
    value = item.get(key)
    return clean_text(value) if isinstance(value, str) else ""


def _is_reasoning(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in _REASONING_PARTS


def _read_reasoning(item: dict[str, Any], content: Any, field: str) -> str:
    """Return the reasoning that a message keeps apart from its content, in a field or in parts of their own."""
    for key in _REASONING_KEYS:
        if item.get(key) not in (None, "", []):
            return read_text(item[key], f"{field}.{key}")
    parts = [part for part in content if _is_reasoning(part)] if isinstance(content, list) else []
    texts = [_either(part, str(part["type"]), "text") for part in parts]
    return "\n".join(read_text(text, field) for text in texts if text)


def _find_untrained(item: dict[str, Any]) -> str:
    """Return why the record's own marks keep a message out of training: `weight` of OpenAI, `train` of Axolotl."""
    weight = item.get("weight")
    if isinstance(weight, int | float) and weight == 0:
        return "not_trained: its weight is 0"
    if item.get("train") is False or item.get("training") is False:
        return "not_trained: it is marked train: false"
    return ""


def read_system(record: Fields, messages: tuple[Message, ...], key: str = "system") -> tuple[Message, ...]:
    """Return the messages headed by the record's own system text, unless they open with one."""
    if not record.get(key) or (messages and messages[0].role == "system"):
        return messages
    return (Message("system", read_text(record[key], key)), *messages)


def read_instruction(record: Fields, keys: tuple[str, ...] = ("instruction", "input")) -> tuple[Message, ...]:
    """Return the user message that an instruction and its input make: the one, a blank line, the other."""
    texts = [read_text(record.get(key), key) for key in keys]
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
