r"""Hh style: one string of `\n\nHuman:` and `\n\nAssistant:` turns, in `text` or in the only string field.

Does not know pairs of such strings, which are preference data.
"""

from __future__ import annotations

from audit.samples.family import Conversation, Family, Fields
from audit.samples.hh_text import has_hh_turns, split_hh_turns
from audit.samples.text import clean_text


def fits(record: Fields) -> bool:
    """Tell whether the record's text holds turns of a Human and an Assistant."""
    text = _find_text(record)
    return text is not None and has_hh_turns(text)


def read(record: Fields) -> tuple[Conversation, ...]:
    """Return the one conversation of the record."""
    return (Conversation("response", split_hh_turns(clean_text(_find_text(record) or ""))),)


def _find_text(record: Fields) -> str | None:
    if isinstance(record.get("text"), str):
        return str(record["text"])
    texts = [value for value in record.values() if isinstance(value, str)]
    return texts[0] if len(texts) == 1 else None


FAMILY = Family(
    name="hh",
    says="Human and Assistant turns in one string",
    wants="'text' with '\\n\\nAssistant:' turns",
    fits=fits,
    read=read,
    keys={"text": "text"},
    also="the only string field under any other name",
    example={"text": "\n\nHuman: Hi\n\nAssistant: Hello."},
)
