"""Chat: `messages` (or `conversation`), a list of {role, content}.

Does not know preference data, which may carry `messages` beside `chosen` and `rejected`.
"""

from __future__ import annotations

from audit.samples.family import Conversation, Family, Fields
from audit.samples.messages import read_messages, read_system

_KEYS = ("messages", "conversation")


def fits(record: Fields) -> bool:
    """Tell whether the record holds a list of messages and is no preference pair."""
    is_pair = "chosen" in record and "rejected" in record
    return not is_pair and any(isinstance(record.get(key), list) for key in _KEYS)


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    key = next(key for key in _KEYS if isinstance(record.get(key), list))
    messages = read_messages(record[key], key)
    return (Conversation("response", read_system(record, messages)),)


FAMILY = Family("chat", "chat messages", "'messages', a list of {role, content}", fits, read)
