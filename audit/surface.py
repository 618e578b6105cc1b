"""Surface marks of a response text: refusal, list share, code share.

They are no traits; they are stored because length, list format and refusals are known to drive scores
(../sql/length_effect.sql shows by how much in a run). Text in, numbers out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_REFUSAL = re.compile(
    r"""\W*(
        (i['’]?m|i\ am)\ (really\ |very\ |so\ )?(sorry|afraid)\b.{0,80}\b(can(no|['’])?t|not\ able|unable|won['’]?t)
      | (sorry|apologies)\b.{0,60}\b(i|we)\ (can(no|['’])?t|am\ not|am\ unable|won['’]?t)
      | (unfortunately,?\ |no,\ )?i\ (can(no|['’])?t|won['’]?t|will\ not|must\ decline|am\ not\ able\ to|am\ unable\ to
            |refuse\ to|do\ not\ feel\ comfortable|don['’]t\ feel\ comfortable|['’]?m\ not\ comfortable)\b
      | i['’]m\ (unable|not\ able|not\ going)\ to\b
      | as\ an?\ (ai|artificial|language)\b.{0,80}\b(can(no|['’])?t|not\ able|unable|not\ programmed|do\ not|don['’]t)
      | it\ (is|would\ be)\ (not|in)\ ?appropriate\b
    )""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_LIST_ITEM = re.compile(r"\s*([-*•‣]|\(?\d{1,3}[.):]|\(?[a-zA-Z][.)])\s+\S")
_FENCE = re.compile(r"^[ \t]*(```|~~~).*?(^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)

# A refusal is recognised by how it opens; a long text is not searched to its end.
_OPENING_CHARS = 240


@dataclass(frozen=True, slots=True)
class Surface:
    """Marks of one response: `list_share` of its non-blank lines, `code_share` of its characters, each 0 to 1."""

    is_refusal: bool
    list_share: float
    code_share: float


def describe_surface(text: str) -> Surface:
    """Return the surface marks of a response."""
    lines = [line for line in text.splitlines() if line.strip()]
    n_items = sum(1 for line in lines if _LIST_ITEM.match(line))
    n_code = sum(len(match.group()) for match in _FENCE.finditer(text))
    return Surface(
        is_refusal=is_refusal(text),
        list_share=n_items / len(lines) if lines else 0.0,
        code_share=n_code / len(text) if text else 0.0,
    )


def is_refusal(text: str) -> bool:
    """Tell whether the text opens like a refusal (English phrases)."""
    return bool(_REFUSAL.match(text[:_OPENING_CHARS]))
