"""How a trait specification is laid out: which keys a file has, and what may stand under each.

Knows no file format: the plain values come from TOML, YAML, or the JSON of a model's draft.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from audit.errors import TraitError
from audit.schema import is_trait_name
from audit.traits.spec import PromptPair, TraitSpec

MAX_ENTRIES = 500
"""Pairs, and questions of a kind: what a specification of any sense stays below."""

_ROOT = ("name", "description", "language", "licence", "rubric", "assistant", "pairs", "questions")
_ASSISTANT = ("opening", "positive", "negative")
_PAIR = ("positive", "negative")
_QUESTIONS = ("extraction", "evaluation")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
# Control characters but newline and tab, what reorders text, byte order marks, lone surrogates: nobody who reads the
# file would see what the model is told.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
    type(None): "nothing",
}
_REQUIRED = object()
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(TraitSpec)}
_EXAMPLE = "persona-audit traits show evil --toml"


def build_spec(values: Any, place: str) -> TraitSpec:
    """Make a specification of the plain values of a file; white space around texts is dropped.

    Args:
        values: {name, description, language, licence, rubric, assistant: {opening, positive, negative},
            pairs: [{positive, negative}], questions: {extraction: [...], evaluation: [...]}}.
        place: what errors call the values' origin.

    Raises:
        TraitError: a key is unknown or missing, or what stands under it is of the wrong kind. Whether the texts are
            any good is for `check_spec`.
    """
    reader = _Reader(place)
    root = reader.take_table(values, "", _ROOT)
    assistant = reader.take_table(reader.take(root, "assistant", "", default={}), "assistant", _ASSISTANT)
    questions = reader.take_table(reader.take(root, "questions", ""), "questions", _QUESTIONS)
    spec = TraitSpec(
        name=reader.take_line(root, "name", ""),
        description=reader.take_line(root, "description", ""),
        pairs=tuple(
            PromptPair(*(reader.take_text(reader.take_table(pair, where, _PAIR), side, where) for side in _PAIR))
            for where, pair in reader.take_list(root, "pairs", "")
        ),
        extraction_questions=reader.take_texts(questions, "extraction", "questions"),
        evaluation_questions=reader.take_texts(questions, "evaluation", "questions"),
        rubric=reader.take_text(root, "rubric", ""),
        positive_name=reader.take_line(assistant, "positive", "assistant", default=""),
        negative_name=reader.take_line(assistant, "negative", "assistant", default=""),
        opening=reader.take_line(assistant, "opening", "assistant", default=_DEFAULTS["opening"]),
        language=reader.take_line(root, "language", "", default=_DEFAULTS["language"]),
        licence=reader.take_line(root, "licence", "", default=""),
    )
    _check_name(spec.name, place)
    if not _LANGUAGE.fullmatch(spec.language):
        raise TraitError(place, f"language: {spec.language!r} is no language tag", "write en, de, pt-BR, zh-Hans, ...")
    return spec


def plain_values(spec: TraitSpec) -> dict[str, Any]:
    """Return the values that `build_spec` makes this specification of, without what it would fill in itself."""
    assistant = {"opening": spec.opening, "positive": spec.positive_name, "negative": spec.negative_name}
    is_unnamed = not spec.positive_name and not spec.negative_name and spec.opening == _DEFAULTS["opening"]
    return {
        "name": spec.name,
        "description": spec.description,
        "language": spec.language,
        **({"licence": spec.licence} if spec.licence else {}),
        "rubric": spec.rubric,
        **({} if is_unnamed else {"assistant": assistant}),
        "pairs": [{"positive": pair.positive, "negative": pair.negative} for pair in spec.pairs],
        "questions": {"extraction": list(spec.extraction_questions), "evaluation": list(spec.evaluation_questions)},
    }


def near_names(name: str, known: Iterable[str]) -> str:
    """Return `did you mean 'evil'?`, or nothing when no known name is near."""
    near = get_close_matches(name.lower(), list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(found) for found in near)}?" if near else ""


class _Reader:
    """Takes values out of tables; every complaint names the place and the key."""

    def __init__(self, place: str) -> None:
        self.place = place

    def take_table(self, values: Any, where: str, known: tuple[str, ...]) -> Mapping[str, Any]:
        table: Mapping[str, Any] = self._expect(values, dict, where or "the file")
        for key in table:
            if key not in known:
                raise TraitError(self.place, f"{_under(where)}unknown key {key!r}", _cure_unknown(key, where, known))
        return table

    def take(self, table: Mapping[str, Any], key: str, where: str, default: Any = _REQUIRED) -> Any:
        value = table.get(key)
        if value is None:
            if default is _REQUIRED:
                raise TraitError(self.place, f"{_under(where)}no {key!r}", f"add it; `{_EXAMPLE}` shows a whole file")
            return default
        return value

    def take_text(self, table: Mapping[str, Any], key: str, where: str, default: Any = _REQUIRED) -> str:
        return self._read_text(self.take(table, key, where, default), f"{_under(where)}{key}")

    def take_line(self, table: Mapping[str, Any], key: str, where: str, default: Any = _REQUIRED) -> str:
        return " ".join(self.take_text(table, key, where, default).split())

    def take_list(self, table: Mapping[str, Any], key: str, where: str) -> list[tuple[str, Any]]:
        """Return the entries of a list, each with its place."""
        entries = self._expect(self.take(table, key, where), list, f"{_under(where)}{key}")
        if len(entries) > MAX_ENTRIES:
            finding = f"{_under(where)}{key}: {len(entries):,} entries"
            raise TraitError(self.place, finding, f"keep {MAX_ENTRIES} at most")
        return [(f"{_under(where)}{key} {number}", entry) for number, entry in enumerate(entries, start=1)]

    def take_texts(self, table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        return tuple(self._read_text(entry, place) for place, entry in self.take_list(table, key, where))

    def _read_text(self, value: Any, where: str) -> str:
        text: str = self._expect(value, str, where).replace("\r\n", "\n")
        if unseen := _UNSEEN.search(text):
            finding = f"{where}: holds the character U+{ord(unseen[0]):04X}, which nobody sees"
            raise TraitError(self.place, finding, "remove it")
        return text.strip()

    def _expect(self, value: Any, kind: type, where: str) -> Any:
        if not isinstance(value, kind):
            found = _KINDS.get(type(value), "something else")
            cure = "put it in quotes" if kind is str and isinstance(value, (int, float)) else ""
            raise TraitError(self.place, f"{where}: expected {_KINDS[kind]}, found {found}", cure)
        return value


def _cure_unknown(key: str, where: str, known: tuple[str, ...]) -> str:
    if key in _ROOT and where:
        return f"{key!r} belongs to the file itself, in TOML above its first [table]"
    return near_names(key, known) or f"the keys here are {', '.join(known)}"


def _check_name(name: str, place: str) -> None:
    if is_trait_name(name):
        return
    suggestion = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_")
    cure = "small letters a-z, digits and _, beginning with a letter"
    if suggestion == name:
        cure += "; names of columns such as turn or status are taken"
    elif is_trait_name(suggestion):
        cure += f": {suggestion!r}"
    raise TraitError(place, f"name: {name!r} is no trait name", cure)


def _under(where: str) -> str:
    return f"{where}, " if where else ""
