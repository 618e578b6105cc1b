"""Plain text: `text`, one string that nobody has split; a response without a prompt.

Never taken for granted: continued pretraining data looks like this, and so does a chat that was rendered already.
"""

from __future__ import annotations

from audit.samples.family import Conversation, Family, Fields
from audit.samples.messages import read_text
from audit.samples.sample import Message


def fits(record: Fields) -> bool:
    """Tell whether the record has a text."""
    return isinstance(record.get("text"), str)


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the text as a conversation of one response."""
    return (Conversation("response", (Message("assistant", read_text(record["text"], "text")),)),)


FAMILY = Family(
    name="text",
    says="plain text",
    wants="'text'",
    fits=fits,
    read=read,
    keys={"text": "text"},
    also="only when asked for: --format text, or --text-key",
    example={"text": "Once upon a time."},
    is_detected=False,
)
