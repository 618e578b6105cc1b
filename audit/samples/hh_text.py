"""Conversations written as one string of `Human:` and `Assistant:` turns, each after a blank line.

Knows the markers of Anthropic's hh-rlhf data, not the records that carry such strings.
"""

from __future__ import annotations

import re

from audit.samples.sample import Message

_MARK = re.compile(r"(?:\A\s*|\r?\n\r?\n)(Human|Assistant):( ?)")
_OPENING = re.compile(r"(\s*)Human:")


def has_hh_turns(text: str) -> bool:
    """Tell whether the text holds turns of both a Human and an Assistant."""
    names = {mark.group(1) for mark in _MARK.finditer(text)}
    return names == {"Human", "Assistant"}


def opens_hh_turns(text: str) -> bool:
    """Tell whether the text begins with a Human's turn; one that merely begins with the word has no turn after it."""
    opening = _OPENING.match(text)
    return opening is not None and (opening.group(1) != "" or has_hh_turns(text))


def split_hh_turns(text: str) -> tuple[Message, ...]:
    """Return the messages of a string of `Human:` and `Assistant:` turns parted by a blank line.

    Each content is what stands between two markers, exactly, without one space after the colon. Text before the
    first marker is a system message.
    """
    marks = list(_MARK.finditer(text))
    opening = text[: marks[0].start()] if marks else text
    messages = [Message("system", opening)] if opening.strip() else []
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        role = "user" if mark.group(1) == "Human" else "assistant"
        messages.append(Message(role, text[mark.end() : end]))
    return tuple(messages)
