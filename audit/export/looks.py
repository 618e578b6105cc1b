"""What the records of an output look like to a trainer: their shape, and of which kind each field is.

Looks at the first kept records only. Knows families, no trainer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audit.samples import Source, load_families
from audit.samples.families import preference, qa

_MESSAGE_KEYS = ("messages", "conversation")
_FOLDED = ("alpaca", "prompt_completion", "qa")
_NUMBERS = re.compile(r"\s*(?:[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|true|false|)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Look:
    """The form of an output's records.

    Attributes:
        files: where the outputs of this form lie, seen from the card.
        container: `jsonl`, `json`, `json_object`, `csv`, `tsv`, `parquet` or `arrow`.
        delimiter: what parts the cells of a CSV; empty otherwise.
        encoding: as `Layout` has it.
        is_directory: whether it is a directory of `save_to_disk`.
        shape: the record family.
        keys: role → the field that has it, as far as there is one.
        kinds: field → `text`, `messages` (role, content), `turns` (from, value), `message`, `turn`, `flag`, `number`,
            `list`, `object`, `null` or `mixed`.
        roles: what the speakers of the messages are called, as it is spelled.
        numeric: fields of a CSV that hold nothing but numbers or truth values, which readers take for such.
    """

    files: tuple[str, ...]
    container: str
    delimiter: str
    encoding: str
    is_directory: bool
    shape: str
    keys: Mapping[str, str]
    kinds: Mapping[str, str]
    roles: frozenset[str]
    numeric: frozenset[str]

    @property
    def suffix(self) -> str:
        """The last suffix that the files share."""
        return os.path.splitext(self.files[0])[1]

    @property
    def is_cells(self) -> bool:
        """Whether every value is the text of a cell."""
        return self.container in ("csv", "tsv")

    @property
    def has_inner_prompt(self) -> bool:
        """Whether the prompt of a pair lies in an object of its own, as OpenAI writes it."""
        return self.shape == "preference" and self.kinds.get("input") == "object"

    def kind(self, role: str) -> str:
        """Return the kind of the field that has a role; empty where there is none."""
        return self.kinds.get(self.keys.get(role, ""), "")

    def has(self, field: str) -> bool:
        """Tell whether the records have a field."""
        return field in self.kinds


def join_looks(looks: Iterable[Look]) -> list[Look]:
    """Return the looks with those that differ in nothing but their files as one."""
    joined: list[Look] = []
    for look in looks:
        for position, other in enumerate(joined):
            if other.suffix == look.suffix and replace(other, files=()) == replace(look, files=()):
                joined[position] = replace(other, files=(*other.files, *look.files))
                break
        else:
            joined.append(look)
    return joined


def find_roles(records: Iterable[Mapping[str, Any]], field: str) -> frozenset[str]:
    """Return how the messages of a field call those who speak."""
    lists = [record[field] for record in records if isinstance(record.get(field), list)]
    items = [item for messages in lists for item in messages if isinstance(item, dict)]
    names = [item.get("role", item.get("from")) for item in items]
    return frozenset(name for name in names if isinstance(name, str))


def find_numeric(records: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the fields whose texts all look like numbers or truth values, at least one of them."""
    found = set()
    for name in dict.fromkeys(name for record in records for name in record):
        cells = [str(record[name]) for record in records if record.get(name) not in (None, "")]
        if cells and all(_NUMBERS.fullmatch(cell) for cell in cells):
            found.add(name)
    return frozenset(found)


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
    family = load_families()[shape]
    own = dict(family.keys)
    if is_converted:
        return {role: name for role, name in own.items() if name in kinds}
    names = {name: name for name in kinds}
    if shape in _FOLDED:
        names = {**{name.lower(): name for name in kinds}, **names}
    if shape == "chat":
        own["messages"] = _first(_MESSAGE_KEYS, names, kinds)
    elif shape == "preference":
        pair = next((pair for pair in preference.PAIRS if all(name in kinds for name in pair)), preference.PAIRS[0])
        prompt = _first((*preference.PROMPT_KEYS, "instruction"), names, kinds)
        own |= {"chosen": pair[0], "rejected": pair[1], "prompt": prompt}
    elif shape == "alpaca":
        own["context"] = "input"
    elif shape == "qa":
        own |= _find_question(names, kinds)
        own["system"] = _first(family.others["system"], names, kinds)
    elif shape == "hh" and not any(name in kinds for name in own.values()):
        texts = [name for name, kind in kinds.items() if kind == "text"]
        own["text"] = texts[0] if len(texts) == 1 else own.get("text", "text")
    if shape == "qa" and "prompt" in source.keys:
        own.pop("context", None)
    found = {role: names[name] for role, name in own.items() if name in names}
    return found | {role: name for role, name in source.keys.items() if name in kinds}


def _find_question(names: Mapping[str, str], kinds: Mapping[str, str]) -> dict[str, str]:
    pairs = [pair for pair in qa.PAIRS if all(name in names for name in pair)]
    full = [pair for pair in pairs if all(kinds[names[name]] == "text" for name in pair)]
    question, answer = next(iter([*full, *pairs]), qa.PAIRS[0])
    own = {"prompt": question, "response": answer}
    return {**own, "context": _first(qa.CONTEXTS, names, kinds)} if question == "instruction" else own


def _first(wanted: Sequence[str], names: Mapping[str, str], kinds: Mapping[str, str]) -> str:
    """Return the first name whose field holds something, else the first that there is, else the first."""
    there = [name for name in wanted if name in names]
    return next(iter([*[name for name in there if kinds[names[name]] != "null"], *there, *wanted]))
