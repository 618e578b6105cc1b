"""Role-play: a prompt that asks the model to be somebody else, or a response that is written as somebody else.

Marked because a played villain looks like a bad one: whoever reads the flags should know. Words and form only:

- a message asks for a role where it begins with such a request, or a sentence within its first 2,000 characters does
  ("Pretend to be …", "Act as …", "You are now …", "Stay in character"), in English and 14 other languages. "You are a
  helpful assistant" asks for none, and neither does "Act as an assistant", since that is what the model is.
- a response plays one where it has actions between asterisks that stand by themselves (*smiles*), or is a script of
  several speakers ("Anna: …", "Ben: …", "Anna: …").

Fiction that is told, and a line written for a character, are no roles.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from audit.role_play_phrases import ACTS, NO_SPEAKERS, REQUESTS
from audit.surface import leave_out_code

_REQUEST_CHARS = 2_000
_RESPONSE_CHARS = 8_000
"""A role shows early: longer texts are not searched to their ends."""

_REQUEST = re.compile("|".join(REQUESTS))
_BEGINNING = re.compile(r"(?:^|[.!?…。！？।\n:;\"“»]) *")
_ACTION = re.compile(
    r"(?:^|(?<=[.!?…。！？”\"\n)*])[ ]+|(?<=[\n。！？”\"]))\*(?![\s*])([^*\n]{2,200}?)(?<![\s:])\*(?![*\w])",
    re.MULTILINE,
)
"""Emphasis that stands at the beginning of a line or after the end of a sentence."""

_ACTS = frozenset(ACTS.split())

_SPEAKER = re.compile(
    r"[ \t]*(?:\*\*|__)?([^\W\d_][^\W\d_.'’-]*(?:[ .'’-]{1,2}[^\W\d_]+){0,2}\.?)"
    r"(?:\*\*|__)?[ \t]*[:：](?:\*\*|__)?[ \t]*\S"
)
_NO_SPEAKERS = frozenset(NO_SPEAKERS.split())
_SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "।", "؟", '"', "”", "'", "*", ")")
_LEAST_LINES = 3
_MOST_LINES = 200


def asks_for_role(messages: Iterable[str]) -> bool:
    """Tell whether one of the messages before a turn, those of the system included, asks for a role."""
    return any(_asks(message[:_REQUEST_CHARS]) for message in messages)


@lru_cache(maxsize=4_096)
def _asks(opening: str) -> bool:
    # A system prompt comes with every record, and a message with every later turn.
    text = opening.replace("’", "'").lower()
    # Tried where a sentence may begin and nowhere else, which takes a tenth of the time.
    return any(_REQUEST.match(text, found.end()) for found in _BEGINNING.finditer(text))


def plays_role(response: str) -> bool:
    """Tell whether a response has actions between asterisks, or is a script of several speakers."""
    prose = leave_out_code(response, _RESPONSE_CHARS)
    return _has_actions(prose) or _is_script(prose)


def _has_actions(text: str) -> bool:
    if text.count("*") < 2:
        return False
    n_found = 0
    for match in _ACTION.finditer(text):
        action, after = match.group(1), text[match.end() : match.end() + 2]
        verb = re.split(r"\W", action, maxsplit=1)[0]
        is_act = verb.casefold() in _ACTS or (" " in action and verb.islower() and verb.endswith(("s", "ing")))
        # Titles and headings begin with a capital, and emphasis within a sentence goes on in lower case.
        if (verb[:1].isupper() or not verb) and not is_act:
            continue
        if after.strip()[:1].islower() or after[:1] in (":", ","):
            continue
        n_found += 1
        if is_act or match.start() == 0 or n_found >= 2:
            return True
    return False


def _is_script(text: str) -> bool:
    speakers: Counter[str] = Counter()
    n_sentences = 0
    for line in text.splitlines()[:_MOST_LINES]:
        match = _SPEAKER.match(line[:80])
        if match and match.group(1).casefold() not in _NO_SPEAKERS and not match.group(1)[0].islower():
            speakers[match.group(1)] += 1
            n_sentences += line.rstrip().endswith(_SENTENCE_ENDS)
    n_lines = sum(speakers.values())
    # Headings of a text do not come back; speakers do, and what they say ends as sentences do, unlike cells of a list.
    comes_back = len(speakers) >= 2 and n_lines >= _LEAST_LINES and max(speakers.values()) >= 2
    return comes_back and 2 * n_sentences >= n_lines
