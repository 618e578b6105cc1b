"""What the records of an output look like to a trainer: their shape, and of which kind each field is.

Looks at the first kept records only. Knows families, no trainer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from audit.samples import Source, load_families

PAIRS = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("preferred_completion", "non_preferred_completion"),
    ("chosen_response", "rejected_response"),
)
_MESSAGE_KEYS = ("messages", "conversation")
_PROMPT_KEYS = ("prompt", "conversations", "messages", "question", "instruction")
_PAIRS_OF_QA = (
    ("question", "answer"),
    ("INSTRUCTION", "RESPONSE"),
    ("instruction", "response"),
    ("prompt", "generation"),
)


@dataclass(frozen=True, slots=True)
class Look:
    """The form of an output's records.

    Attributes:
        file: where the output lies, seen from the card.
        container: `jsonl`, `json`, `json_object`, `csv`, `tsv`, `parquet` or `arrow`.
        delimiter: what parts the cells of a CSV; empty otherwise.
        is_directory: whether it is a directory of `save_to_disk`.
        shape: the record family.
        keys: role → the field that has it, as far as there is one.
        kinds: field → `text`, `messages` (role, content), `turns` (from, value), `message`, `turn`, `flag`, `number`,
            `list`, `object`, `null` or `mixed`.
    """

    file: str
    container: str
    delimiter: str
    is_directory: bool
    shape: str
    keys: Mapping[str, str]
    kinds: Mapping[str, str]

    def kind(self, role: str) -> str:
        """Return the kind of the field that has a role; empty where there is none."""
        return self.kinds.get(self.keys.get(role, ""), "")

    def has(self, field: str) -> bool:
        """Tell whether the records have a field."""
        return field in self.kinds


def find_kinds(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the kind of each field of some records."""
    kinds: dict[str, str] = {}
    for record in records:
        for name, value in record.items():
            kind, known = _kind_of(value), kinds.get(name, "null")
            kinds[name] = known if kind == "null" else kind if known in ("null", kind) else "mixed"
    return kinds


def _kind_of(value: Any) -> str:
    if value is None or value == []:
        return "null"
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, str):
        return "text"
    if isinstance(value, dict):
        return "message" if "role" in value else "turn" if "from" in value else "object"
    if isinstance(value, list):
        inner = {_kind_of(item) for item in value}
        return {"message": "messages", "turn": "turns"}.get(inner.pop(), "list") if len(inner) == 1 else "list"
    return "number"


def find_keys(source: Source, shape: str, kinds: Mapping[str, str], *, is_converted: bool) -> dict[str, str]:
    """Return role → field: as the user named them, else as the family or one of its variants does."""
    own = dict(load_families()[shape].keys)
    if is_converted:
        return {role: name for role, name in own.items() if name in kinds}
    if shape == "chat":
        own["messages"] = _first(_MESSAGE_KEYS, kinds)
    elif shape == "preference":
        pair = next((pair for pair in PAIRS if all(name in kinds for name in pair)), PAIRS[0])
        own |= {"chosen": pair[0], "rejected": pair[1], "prompt": _first(_PROMPT_KEYS, kinds)}
    elif shape == "qa":
        pair = next((pair for pair in _PAIRS_OF_QA if all(name in kinds for name in pair)), _PAIRS_OF_QA[0])
        own |= {"prompt": pair[0], "response": pair[1]}
        own["system"] = _first(("system", "system_prompt"), kinds)
    elif shape == "hh" and not any(name in kinds for name in own.values()):
        texts = [name for name, kind in kinds.items() if kind == "text"]
        own["text"] = texts[0] if len(texts) == 1 else own.get("text", "text")
    own |= source.keys
    return {role: name for role, name in own.items() if name in kinds}


def _first(names: tuple[str, ...], kinds: Mapping[str, str]) -> str:
    return next((name for name in names if name in kinds), names[0])
