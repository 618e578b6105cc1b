"""Which family the first rows of a source belong to, and what to say when it is none.

Knows what a user may ask for: a family by name, fields by role. Does not read a conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from audit.errors import ConfigError, DataError
from audit.samples.decode import AT_END, Unreadable
from audit.samples.families import load_families
from audit.samples.family import Family, rename_fields
from audit.samples.layout import READABLE
from audit.samples.source import Layout
from audit.samples.text import clean_text, kind_of

N_PROBED = 200
"""First rows that a family is chosen by. Looked at further only as long as none fits."""

FIT_SHARE = 0.9
"""Where fewer of the first rows fit, the description says so aloud."""

SHAPES = "`persona-audit formats` lists the shapes"

_PROMPTS = {"prompt", "instruction", "question", "query", "input", "problem"}
_RESPONSES = {"completion", "response", "responses", "output", "answer", "generation", "chosen", "rejected", "text"}
_MESSAGES = ("messages", "conversations", "conversation")
_SHOWN_KEYS = 12
_KEY_CHARACTERS = 60


def choose_candidates(format: str | None, keys: Mapping[str, str]) -> dict[str, Family]:
    """Return the families that rows may be taken for, by name: those that know every role a field was named for.

    Raises:
        ConfigError: no reader has the name `format`, or none has all the roles.
    """
    families = load_families()
    if format is None:
        # A text is scored as a response only when somebody says that it is one.
        asked = {name: family for name, family in families.items() if family.is_detected or "text" in keys}
        found = {name: family for name, family in asked.items() if keys.keys() <= family.keys.keys()}
        if not found:
            options = [_option(role) for role in keys]
            known = "; ".join(f"{family.name} has {_options(family)}" for family in families.values())
            raise ConfigError(options[0], f"no format has it together with {', '.join(options[1:])}", known)
        return found
    if format not in families:
        raise ConfigError("--format", f"there is no reader for {format!r}", f"choose one of {', '.join(families)}")
    foreign = next((role for role in keys if role not in families[format].keys), None)
    if foreign is not None:
        cure = f"its field options are {_options(families[format])}"
        raise ConfigError(_option(foreign), f"does not apply to --format {format}", cure)
    return {format: families[format]}


def describe_misfit(fields: Mapping[str, Any], keys: Mapping[str, str], family: Family) -> str:
    """Return why a record is not of its source's family: what it lacks, by the user's name for it, and what it has."""
    absent = next((role for role, key in keys.items() if key not in fields), None)
    if absent is not None:
        return f"no {keys[absent]!r} ({_option(absent)}); found {show_keys(fields)}"
    names = {role: keys.get(role, own) for role, own in family.keys.items() if role != "system"}
    odd = [f"{name!r} is {kind}" for role, name in names.items() if (kind := _find_odd_kind(fields, role, name))]
    if odd:
        return f"{', '.join(odd)}; wanted: {family.wants}"
    return f"no {family.wants}; found {show_keys(fields)}"


def _find_odd_kind(fields: Mapping[str, Any], role: str, name: str) -> str:
    """Return what a field holds that its role can never have; nothing where it is absent or may be right."""
    if name not in fields:
        return ""
    value = fields[name]
    if value in ("", []):
        return "empty"
    if role == "messages" and _is_json_text(value):
        return "a string of JSON (parse it, and write the list itself)"
    allowed = list if role == "messages" else (str, list, dict)
    return "" if isinstance(value, allowed) else kind_of(value)


def _is_json_text(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith(("[", "{"))


def show_keys(fields: Mapping[str, Any]) -> str:
    """Return the first field names of a record, for messages."""
    shown = [repr(clean_text(str(key))[:_KEY_CHARACTERS]) for key in list(fields)[:_SHOWN_KEYS]]
    return ", ".join(shown) or "no keys at all"


def _option(role: str) -> str:
    return f"--{role}-key"


def _options(family: Family) -> str:
    return ", ".join(_option(role) for role in family.keys)


class Probe:
    """Counts, over the first rows, how many fit each family, and keeps what an error message needs."""

    def __init__(
        self, candidates: Mapping[str, Family], *, is_given: bool, keys: Mapping[str, str], has_options: bool = True
    ) -> None:
        """Choose among `candidates`; `is_given` tells that `--format` names the only one.

        `has_options` tells whether errors may advise options.
        """
        self._families = candidates
        self._is_given = is_given
        self._keys = keys
        self._has_options = has_options
        self._n_fits = dict.fromkeys(candidates, 0)
        self._unreadable: str | None = None
        self._first: Mapping[str, Any] | None = None
        self._roles_seen: set[str] = set()
        self.n_probed = 0

    @property
    def is_done(self) -> bool:
        """Whether enough rows were seen and one of them fits."""
        return self.n_probed >= N_PROBED and any(self._n_fits.values())

    def add(self, fields: dict[str, Any] | Unreadable) -> None:
        """Look at one more row."""
        self.n_probed += 1
        if isinstance(fields, Unreadable):
            self._unreadable = self._unreadable or fields.reason
            return
        if self._first is None:
            self._first = fields
        self._roles_seen.update(role for role, key in self._keys.items() if key in fields)
        for name, family in self._families.items():
            self._n_fits[name] += family.fits(rename_fields(fields, self._keys, family))

    def choose(self, path: str, layout: Layout) -> tuple[str, int]:
        """Return the family that most rows fit, the earlier one among equals, and how many fit.

        Raises:
            DataError: none fits any; the message says what was found instead.
        """
        name = max(self._n_fits, key=lambda name: self._n_fits[name])
        if self._n_fits[name] == 0:
            raise DataError(path, *self._explain(layout))
        return name, self._n_fits[name]

    def describe_fit(self, name: str) -> str:
        """Return how many rows fit a family; where many do not, also what fits second best."""
        n_fits = self._n_fits[name]
        fit = f"{n_fits:,} of {self.n_probed:,} first rows fit"
        if n_fits >= FIT_SHARE * self.n_probed:
            return fit
        others = {other: count for other, count in self._n_fits.items() if other != name}
        second = max(others, key=lambda other: others[other], default=None)
        also = f"; {others[second]:,} fit {second}" if second is not None and others[second] else ""
        return f"only {fit}, the others will be skipped{also}"

    def _explain(self, layout: Layout) -> tuple[str, str]:
        """Return finding and cure for a source that fits nothing."""
        first = self._first
        if first is None:
            # The first line of an object over several lines breaks off.
            is_torn = layout.container == "jsonl" and (self._unreadable or "").endswith(AT_END)
            cure = f"write one record per line; {READABLE}" if is_torn else READABLE
            return f"no record can be read; the first: {self._unreadable}", cure
        column = self._find_message_column(first) if layout.container == "csv" else None
        if column is not None:
            finding = f"the column {clean_text(column)!r} holds JSON; cells of a CSV hold texts, no message lists"
            return finding, "convert it to JSON lines or Parquet"
        is_told = self._is_given or self._keys
        unnamed = None if is_told else _explain_unscorable(first, has_options=self._has_options)
        return unnamed or self._explain_misfit(first)

    def _find_message_column(self, first: Mapping[str, Any]) -> str | None:
        return next((key for key in self._name_message_fields() if _is_json_text(first.get(key))), None)

    def _explain_misfit(self, first: Mapping[str, Any]) -> tuple[str, str]:
        found = self._describe_messages(first) or f"found {show_keys(first)}"
        absent = next((role for role in self._keys if role not in self._roles_seen), None)
        if absent is not None:
            named = f"the field {self._keys[absent]!r} that {_option(absent)} names"
            return f"no record of {self.n_probed:,} has {named}; {found}", "check how it is spelled"
        named = ", ".join(f"{_option(role)} {key}" for role, key in self._keys.items())
        if self._is_given:
            named = " ".join(["--format", *self._families]) + (f" with {named}" if named else "")
        if named:
            wants = [family.wants for family in self._families.values()]
            cure = f"wanted: {wants[0]}" if len(wants) == 1 else SHAPES
            return f"no record of {self.n_probed:,} fits {named}; {found}", cure
        name_them = "name the fields with --messages-key, --prompt-key and so on, or rename them"
        cure = f"{name_them if self._has_options else 'rename the fields'}; {SHAPES}"
        return f"no record of {self.n_probed:,} fits a known shape; {found}", cure

    def _describe_messages(self, first: Mapping[str, Any]) -> str:
        """Return what a field for messages holds instead of them; nothing where there is none, or they are a list."""
        kinds = {key: _find_odd_kind(first, "messages", key) for key in self._name_message_fields()}
        return ", ".join(f"{clean_text(key)!r} is {kind}" for key, kind in kinds.items() if kind)

    def _name_message_fields(self) -> tuple[str, ...]:
        return (*_MESSAGES, self._keys.get("messages", _MESSAGES[0]))


def _explain_unscorable(first: Mapping[str, Any], *, has_options: bool) -> tuple[str, str] | None:
    """Return finding and cure for what is recognised but holds nothing to score; None for what is not recognised."""
    names = {str(key).lower() for key in first}
    if isinstance(first.get("text"), str):
        cure = "ask for it with --format text" if has_options else f"write prompts and responses; {SHAPES}"
        return "plain text in 'text': scored as one response only when asked for", cure
    if "input_ids" in names:
        return "tokenised data ('input_ids'): there is no text to score", "scan the text it came from"
    if names & _PROMPTS and not names & (_RESPONSES | set(_MESSAGES)):
        finding = f"prompts without responses (found {show_keys(first)}): nothing to score"
        name_it = "scan what was answered, or name the response with --response-key"
        return finding, f"{name_it if has_options else 'name a file with responses'}; {SHAPES}"
    return None
