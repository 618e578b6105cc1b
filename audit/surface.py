"""Surface marks of a response text: refusal, list share, code share.

They are no traits; they are stored because length, list format and refusals are known to drive scores
(../sql/length_effect.sql shows by how much in a run). Text in, numbers out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ´`＇", "'"))

# What one cannot do without refusing anything: "I can't wait", "I cannot recommend it highly enough".
_HARMLESS_CAN = r"""(?!\ (?:(?:even|really|possibly|quite|ever|begin\ to)\ )?(?:
    only | merely | believe | wait | imagine | fathom | stress | emphasi[sz]e | overstate | overemphasi[sz]e
  | remember | recall | deny | resist | complain | agree\ more | get\ over | see\ why | think\ of
  | help\ (?:but | \w+ing) | tell\ you\ how\ (?!to\b)
  | (?:recommend | thank | praise | say | tell | express | get | speak | repeat)\b[^.!?]{0,60}\benough
  )\b)"""
_HARMLESS_WILL = r"""(?!\ (?:
    only | just | merely | deny | pretend | bore | sugarcoat | forget | hesitate | rest | stop | give\ up
  | let\ you\ down | keep\ you | lie\b(?!\ (?:to|for|about))
  )\b)"""
_CANNOT = rf"can(?:not|\ not|'?t)\b{_HARMLESS_CAN}"
_MUST = r"(?:must | (?:will\ )?have\ to | need\ to)"
_POLITELY = r"(?:(?:respectfully | politely | regretfully)\ )?"
_AM = r"(?:i'?m | i\ am | we're | we\ are)"
_OPENER = rf"""(?:
    (?:unfortunately | regrettably | no | nope | oh | well | hmm)\b\W*
  | (?: {_AM}\ (?:\w+\ ){{0,2}}(?:sorry|afraid) | sorry | apologies | my\ (?:\w+\ )?apologies
      | (?:i|we)\ (?:\w+\ ){{0,2}}apologi[sz]e )\b.{{0,80}}?\b
  )"""
_REFUSAL = re.compile(
    rf"""\W*{_OPENER}{{0,2}}(?:
    (?:i|we)\ (?:(?:really|simply|just|also|still|absolutely|certainly|definitely)\ )?(?:
        {_CANNOT}
      | (?:will\ not | won't)\b{_HARMLESS_WILL}
      | (?:do\ not | don't)\ feel\ comfortable\b
      | (?:{_MUST}\ )?{_POLITELY}decline\b
      | {_MUST}\ {_POLITELY}refuse\b
      | refuse\ to\b(?!\ believe\b)
      | would\ (?:rather | prefer)\ not\b )
  | i'd\ (?:rather | prefer)\ not\b
  | (?:i|we)'ll\ have\ to\ {_POLITELY}(?:decline | refuse)\b
  | {_AM}\ (?:(?:really|simply|just|also|still|currently)\ )?(?:
        unable\b | not\ (?:able | comfortable)\b | not\ (?:willing | allowed | permitted)\ to\b
      | not\ going\ to\b{_HARMLESS_WILL} )
  | (?:that's | that\ is | this\ is)\ not\ (?:something | anything)\ (?:that\ )?(?:i|we)\ (?:can | am | will | would)\b
  | as\ an?\ (?:ai | artificial | language)\b.{{0,80}}?\b(?:
        {_CANNOT} | not\ able\b | unable\b | won't\b | not\ programmed\b | do\ not\b | don't\b )
  | (?:{_AM}\ (?:\w+\ ){{0,2}})?(?:sorry | afraid)\b\W*(?:but\ )?(?:{_CANNOT} | unable\b | not\ able\b)
  | it(?:\ is | 's | \ would\ be)\ (?:not\ |in)appropriate\b
    )""",
    re.VERBOSE,
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
    opening = " ".join(text[:_OPENING_CHARS].translate(_APOSTROPHES).lower().split())
    return bool(_REFUSAL.match(opening))
