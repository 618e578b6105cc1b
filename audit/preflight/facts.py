"""A record reduced to what rules look at: shapes, roles, kinds of content; none of its words.

Computed once per row. Rows of a kind have equal facts, so the rules of all trainers run once per kind, not per row.
Does not know what a trainer makes of a fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from audit.preflight.kinds import ABSENT, kind_at, name_kind, name_tools
from audit.samples.families import load_families
from audit.samples.families.preference import PAIRS, PROMPT_KEYS

Fields = Mapping[str, Any]

NOTED_COLUMNS = frozenset(
    {
        "chat_template_kwargs",
        "chosen",
        "completion",
        "history",
        "image",
        "images",
        "input_ids",
        "label",
        "labels",
        "messages",
        "prompt",
        "rejected",
        "system",
        "text",
    }
)
"""Columns whose mere presence matters to some trainer."""

_KNOWN_ROLES = frozenset(
    {
        "assistant",
        "bot",
        "chatgpt",
        "developer",
        "function",
        "function_call",
        "gpt",
        "human",
        "ipython",
        "model",
        "observation",
        "system",
        "tool",
        "tool_call",
        "user",
    }
)
ASSISTANT_ROLES = frozenset({"assistant", "gpt", "chatgpt", "bot", "model"})
# The family takes these two for an instruction with its input.
_PROMPT_KEYS = (*PROMPT_KEYS, "instruction", "input")


class Thread(NamedTuple):
    """The messages of one list.

    Attributes:
        kind: of the field: `messages`, or what stands there instead.
        roles: as spelled; `""`: none; `other`: none that anybody knows.
        contents: kind of each content; beside tool calls, `call` for none and `empty_call` for an empty one;
            `no_message`: no object at all.
        keys: `role` or `from`, by what the first message is told apart; `""` without one.
        is_plain: whether every message is {role, content} or {from, value}, in strings, and nothing else.
    """

    kind: str = "missing"
    roles: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    keys: str = ""
    is_plain: bool = False

    @property
    def answers(self) -> tuple[str, ...]:
        """The kinds of what the assistant says."""
        pairs = zip(self.roles, self.contents, strict=True)
        return tuple(content for role, content in pairs if role in ASSISTANT_ROLES)


class RowFacts(NamedTuple):
    """What rules may know of a row.

    Attributes:
        family: of its file.
        columns: which of `NOTED_COLUMNS` it has, null or not.
        thread: the conversation; of preference pairs and completions: the prompt.
        fields: name → kind of the fields that hold texts; sides are always `chosen` and `rejected`.
        marks: everything else, a word each.
        chosen, rejected, completion: where they are messages.
    """

    family: str
    columns: frozenset[str]
    thread: Thread = Thread()
    fields: tuple[tuple[str, str], ...] = ()
    marks: frozenset[str] = frozenset()
    chosen: Thread = Thread()
    rejected: Thread = Thread()
    completion: Thread = Thread()

    def kind(self, field: str) -> str:
        """Return the kind of a field."""
        return dict(self.fields).get(field, "missing")


def read_facts(record: dict[str, Any], family: str) -> RowFacts:
    """Return the facts of a record of a file in which most are of a family; the record need not be."""
    columns = NOTED_COLUMNS.intersection(record)
    marks: set[str] = set()
    if len(record) > 1:
        _mark_columns(record, marks)
    if family in ("chat", "sharegpt"):
        key = "conversations" if family == "sharegpt" else "messages"
        if key not in record and "conversation" in record:
            key = "conversation"
            marks.add("key_conversation")
        thread = _read_thread(record.get(key), marks)
        return RowFacts(family, columns, thread, (), frozenset(marks))
    if family == "preference":
        return _read_pair(record, columns, marks)
    if family == "prompt_completion":
        return _read_completion(record, columns, marks)
    if family == "alpaca":
        return _read_alpaca(record, columns, marks)
    return RowFacts(family, columns, Thread(), (("text", kind_at(record, "text")),), frozenset(marks))


def read_null_facts(family: str) -> RowFacts:
    """Return the facts of a line `null`, which loads as a row of nulls."""
    return read_facts(dict.fromkeys(load_families()[family].keys.values()), family)


def _mark_columns(record: Fields, marks: set[str]) -> None:
    if record.get("system"):
        marks.add("system_column")
    if record.get("history"):
        marks.add("history_column")
    if "tools" in record:
        marks.add(f"tools_{name_tools(record['tools'])}")
    if "chat_template_kwargs" in record and not isinstance(record["chat_template_kwargs"], dict):
        marks.add("template_kwargs_no_object")


def _read_thread(value: Any, marks: set[str]) -> Thread:
    if not isinstance(value, list):
        return Thread(name_kind(value))
    if not value:
        return Thread("messages")
    first = value[0]
    keys = ""
    if isinstance(first, dict):
        keys = "from" if "from" in first and first.get("role") is None else "role" if "role" in first else ""
    role_key, content_key = ("from", "value") if keys == "from" else ("role", "content")
    roles: list[str] = []
    contents: list[str] = []
    is_plain = True
    for message in value:
        if not isinstance(message, dict):
            roles.append("")
            contents.append("no_message")
            is_plain = False
            continue
        role, content = message.get(role_key), message.get(content_key)
        if not isinstance(role, str):
            role, is_plain = "", False
        elif role not in _KNOWN_ROLES:
            role = "other"
        # Most messages are two strings; they are not looked at twice.
        if type(content) is str and len(message) == 2:
            contents.append("text" if content and not content.isspace() else "blank" if content else "empty")
        else:
            is_plain = False
            kind = name_kind(content) if content_key in message else "missing"
            contents.append(_read_extras(message, role, kind, marks) if len(message) > 2 else kind)
        roles.append(role)
    return Thread("messages", tuple(roles), tuple(contents), keys, is_plain)


def _read_extras(message: Fields, role: str, kind: str, marks: set[str]) -> str:
    if role in ASSISTANT_ROLES:
        train = message.get("train", message.get("training"))
        if message.get("weight") in (0, 0.0) or train is False:
            marks.add("untrained")
        if message.get("reasoning_content") or message.get("thinking") or message.get("reasoning"):
            marks.add("reasoning")
    calls = message.get("tool_calls") or message.get("function_call")
    if not calls:
        return kind
    marks.add("tool_calls")
    if kind in ABSENT:
        return "call"
    return "empty_call" if kind in ("empty", "blank") else kind


def _read_alpaca(record: dict[str, Any], columns: frozenset[str], marks: set[str]) -> RowFacts:
    fields = tuple((key, kind_at(record, key)) for key in ("instruction", "input", "output"))
    return RowFacts("alpaca", columns, Thread(), fields, frozenset(marks))


def _read_completion(record: dict[str, Any], columns: frozenset[str], marks: set[str]) -> RowFacts:
    fields = tuple((key, kind_at(record, key)) for key in ("prompt", "completion"))
    if "label" in record:
        label = record["label"]
        marks.add("label_bool" if isinstance(label, bool) else f"label_{name_kind(label)}")
        if not isinstance(label, bool) and isinstance(label, (int, float)) and label not in (0, 1):
            marks.add("label_not_0_or_1")
    prompt, completion = (_read_thread(record.get(key), marks) for key in ("prompt", "completion"))
    return RowFacts("prompt_completion", columns, prompt, fields, frozenset(marks), completion=completion)


def _read_pair(record: dict[str, Any], columns: frozenset[str], marks: set[str]) -> RowFacts:
    pair = next((pair for pair in PAIRS if all(key in record for key in pair)), PAIRS[0])
    if pair != PAIRS[0]:
        marks.add("sides_named_otherwise")
    key = next((key for key in _PROMPT_KEYS if record.get(key) is not None), None)
    prompt = record[key] if key is not None else None
    marks.add(f"prompt_in_{key}")
    chosen, rejected = record.get(pair[0]), record.get(pair[1])
    if chosen == rejected and chosen is not None:
        marks.add("same_sides")
    _compare_sides(prompt, chosen, rejected, marks)
    fields = (("prompt", name_kind(prompt)), ("chosen", name_kind(chosen)), ("rejected", name_kind(rejected)))
    threads = [_read_thread([side] if isinstance(side, dict) else side, marks) for side in (prompt, chosen, rejected)]
    return RowFacts("preference", columns, threads[0], fields, frozenset(marks), threads[1], threads[2])


def _compare_sides(prompt: Any, chosen: Any, rejected: Any, marks: set[str]) -> None:
    if isinstance(chosen, list) and isinstance(rejected, list) and chosen and rejected:
        if isinstance(prompt, list) and prompt and chosen[: len(prompt)] == prompt:
            marks.add("prompt_inside")
        elif prompt is None and chosen[0] != rejected[0]:
            marks.add("nothing_shared")
        if prompt is None and chosen[:-1] != rejected[:-1]:
            marks.add("contexts_differ")
        if len(chosen) > 1 or len(rejected) > 1:
            marks.add("long_sides")
    elif isinstance(chosen, str) and isinstance(rejected, str) and prompt is None and chosen != rejected:
        n_shared = _count_shared(chosen, rejected)
        shared = chosen[:n_shared]
        answer = shared.rpartition("\n\nAssistant:")[2]
        # What both answers begin with goes to the prompt; the space before the words does not matter.
        if answer.strip():
            marks.add("shared_opening")
        elif not n_shared:
            marks.add("nothing_shared")


def _count_shared(left: str, right: str) -> int:
    """Return how many characters two texts begin with in common, comparing halves rather than characters."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
