"""ShareGPT: `conversations`, a list of {from, value}, and perhaps `system` and `tools`.

Does not know preference data, in which `conversations` is the prompt.
"""

from __future__ import annotations

import json
from typing import Any

from audit.samples.family import Conversation, Family, Fields, UnreadableRecord, is_given
from audit.samples.messages import read_messages, read_system
from audit.samples.sample import Message
from audit.samples.tools import read_tools
from audit.samples.writing import plain_text, refuse_untrained, take_only

_NAMES = {"system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def fits(record: Fields) -> bool:
    """Tell whether the record holds a list of conversations and is no preference pair."""
    is_pair = is_given(record, "chosen") or is_given(record, "rejected")
    return not is_pair and isinstance(record.get("conversations"), list)


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    messages = read_messages(record["conversations"], "conversations")
    return (Conversation("response", read_system(record, messages), read_tools(record)),)


def write(conversations: tuple[Conversation, ...]) -> dict[str, Any]:
    """Return a record with the turns of the only conversation; a tool call becomes a turn of its own."""
    conversation = take_only(conversations, "sharegpt")
    turns = [_write_turn(message) for message in conversation.messages]
    # LLaMA-Factory, from which this form comes, reads tools as JSON text.
    return {"conversations": turns, **({"tools": conversation.tools} if conversation.tools else {})}


def _write_turn(message: Message) -> dict[str, str]:
    if not message.tool_calls:
        return {"from": _NAMES[message.role], "value": plain_text(message, "sharegpt")}
    if message.content.strip() or message.reasoning.strip():
        raise UnreadableRecord("not_convertible: sharegpt has no place for text beside a tool call")
    refuse_untrained(message, "sharegpt")
    calls = [call["function"] for call in json.loads(message.tool_calls)]
    return {"from": "function_call", "value": json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)}


FAMILY = Family(
    name="sharegpt",
    says="ShareGPT conversations",
    wants="'conversations', a list of {from, value}",
    fits=fits,
    read=read,
    keys={"messages": "conversations", "system": "system"},
    also="system, tools; from: system, human, gpt, function_call, observation, tool",
    example={"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}]},
    write=write,
)
