"""ShareGPT: `conversations`, a list of {from, value}, and perhaps `system`.

Does not know preference data, in which `conversations` is the prompt.
"""

from __future__ import annotations

from audit.samples.family import Conversation, Family, Fields
from audit.samples.messages import read_messages, read_system


def fits(record: Fields) -> bool:
    """Tell whether the record holds a list of conversations and is no preference pair."""
    is_pair = "chosen" in record and "rejected" in record
    return not is_pair and isinstance(record.get("conversations"), list)


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    messages = read_messages(record["conversations"], "conversations")
    return (Conversation("response", read_system(record, messages)),)


FAMILY = Family("sharegpt", "ShareGPT conversations", "'conversations', a list of {from, value}", fits, read)
