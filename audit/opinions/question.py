"""What a judge is shown of a record: the conversation before an answer as one text, and the answer, each held short.

A judge has a context, too: of a long conversation the end is shown, of a long answer both ends, and that something is
left out is said in the text itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.samples import Message

MOST_CHARS = 12_000


def write_question(prompt: Sequence[Message], *, has_context: bool = True) -> str:
    """Return what was asked: the conversation with its roles where it is more than one message of the user's.

    Args:
        has_context: False: the last message of the user's alone.
    """
    last = next((message.content for message in reversed(prompt) if message.role == "user"), "")
    if not has_context:
        return last
    said = [message for message in prompt if message.content.strip()]
    text = last if len(said) == 1 and last else "\n\n".join(f"{own.role}: {own.content}" for own in said)
    left_out = len(text) - MOST_CHARS
    return text if left_out <= 0 else f"[{left_out:,} characters left out]\n{text[-MOST_CHARS:]}"


def shorten_answer(text: str) -> str:
    """Return an answer, or its two ends."""
    left_out = len(text) - MOST_CHARS
    if left_out <= 0:
        return text
    half = MOST_CHARS // 2
    return f"{text[:half]}\n[{left_out:,} characters left out]\n{text[-half:]}"
