"""Chat: `messages` (or `conversation`), a list of {role, content}.

Does not know preference data, which may carry `messages` beside `chosen` and `rejected`.
"""

from __future__ import annotations

from typing import Any

from audit.samples.family import Conversation, Family, Fields, is_given
from audit.samples.messages import read_messages, read_system
from audit.samples.tools import read_tools
from audit.samples.writing import take_only, with_tools, write_messages

_KEYS = ("messages", "conversation")


def fits(record: Fields) -> bool:
    """Tell whether the record holds a list of messages and is no preference pair."""
    if is_given(record, "chosen") or is_given(record, "rejected"):
        return False
    messages = record.get(_find_key(record))
    return isinstance(messages, list) and (bool(messages) or not is_given(record, "conversations"))


def _find_key(record: Fields) -> str:
    """Return the field with messages in it; in a table of two shapes the other one is empty."""
    lists = [key for key in _KEYS if isinstance(record.get(key), list)]
    return next((key for key in lists if record[key]), lists[0] if lists else _KEYS[0])


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    key = _find_key(record)
    messages = read_messages(record[key], key)
    return (Conversation("response", read_system(record, messages), read_tools(record)),)


def write(conversations: tuple[Conversation, ...]) -> dict[str, Any]:
    """Return a record with the messages and tools of the only conversation."""
    conversation = take_only(conversations, "chat")
    return with_tools({"messages": write_messages(conversation.messages)}, conversation.tools)


FAMILY = Family(
    name="chat",
    says="chat messages",
    wants="'messages', a list of {role, content}",
    fits=fits,
    read=read,
    keys={"messages": "messages", "system": "system"},
    also="conversation; system, tools, functions; in a message: tool_calls, function_call, weight, train, thinking, "
    "reasoning_content, content as parts",
    example={"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]},
    write=write,
    others={"messages": _KEYS},
)
