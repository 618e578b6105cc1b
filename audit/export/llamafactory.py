"""How LLaMA-Factory (0.9.5) reads an export: its entry in `dataset_info.json`, by the record shape.

Columns that an entry with `columns` does not name are not read, and tags that it does not name are none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from audit.export.advice import Advice, convert_first, digits_note
from audit.export.fences import code, quote
from audit.export.formats import data_suffix
from audit.export.looks import Look
from audit.export.trl import load_lines

_SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".arrow")
_ALTERNATE = (
    "LLaMA-Factory silently drops conversations whose turns do not alternate, that end with the user, or that have a "
    "role without a tag, such as `developer`: `persona-audit check` counts them."
)


def advise_llamafactory(look: Look) -> Advice:
    """Return the snippet for LLaMA-Factory."""
    is_foreign = look.is_directory or (look.is_cells and look.delimiter != ",")
    if is_foreign or look.suffix not in _SUFFIXES:
        ending = data_suffix("jsonl" if is_foreign else look.container)
        option = "`--format jsonl` and " if is_foreign else ""
        wanted = f"{', '.join(_SUFFIXES)} (CSV with commas), uncompressed"
        return Advice(notes=(f"LLaMA-Factory reads {wanted}: export again with {option}a name in `{ending}`.",))
    if look.numeric & set(look.keys.values()):
        return Advice(notes=(digits_note("LLaMA-Factory"),))
    if look.shape == "preference":
        return _advise_preference(look)
    if look.shape in ("chat", "sharegpt") and look.kind("messages") in ("messages", "turns"):
        return _advise_chat(look)
    if look.shape in ("alpaca", "qa", "prompt_completion"):
        return _advise_instructions(look)
    if look.shape == "text" and look.kind("text") == "text":
        return _advise(look, {"columns": {"prompt": look.keys["text"]}}, ("Train on it with `stage: pt`.",))
    return convert_first("LLaMA-Factory", "chat", "it knows no such shape")


def _advise(look: Look, entry: Mapping[str, Any], notes: tuple[str, ...] = ()) -> Advice:
    entries: dict[str, Mapping[str, Any]] = {}
    for file in look.files:
        stem = os.path.basename(file).split(".")[0] or "export"
        name, number = stem, 2
        while name in entries:
            name, number = f"{stem}-{number}", number + 1
        entries[name] = {"file_name": file, **entry}
    if len(entries) > 1:
        notes = (f"Train on all of them: {code('dataset: ' + ','.join(entries))}.", *notes)
    return Advice((("json", json.dumps(entries, indent=2)),), notes)


def _others(look: Look) -> dict[str, str]:
    """Return the columns that any entry may name beside its own."""
    columns = {"system": look.keys["system"]} if "system" in look.keys else {}
    # Tools are read as text.
    return {**columns, "tools": "tools"} if look.kinds.get("tools") == "text" else columns


def _tags(*, is_turns: bool) -> dict[str, str]:
    if is_turns:
        return {
            "role_tag": "from",
            "content_tag": "value",
            "user_tag": "human",
            "assistant_tag": "gpt",
            "observation_tag": "observation",
            "function_tag": "function_call",
            "system_tag": "system",
        }
    return {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "observation_tag": "tool",
        "function_tag": "function_call",
        "system_tag": "system",
    }


def _advise_chat(look: Look) -> Advice:
    entry = {
        "formatting": "sharegpt",
        "columns": {"messages": look.keys["messages"], **_others(look)},
        "tags": _tags(is_turns=look.kind("messages") == "turns"),
    }
    notes: tuple[str, ...] = (_ALTERNATE, '`"formatting": "openai"` would append text of its own to the system prompt.')
    if look.kind("messages") == "messages":
        notes = (*notes, "With these tags `tool_calls` are not read; `export --format sharegpt` makes turns of them.")
    return _advise(look, entry, notes)


def _advise_instructions(look: Look) -> Advice:
    if {look.kind("prompt"), look.kind("response")} != {"text"}:
        return convert_first("LLaMA-Factory", "chat", "it reads texts here, not message lists")
    columns = {"prompt": look.keys["prompt"]}
    if "context" in look.keys:
        columns["query"] = look.keys["context"]
    columns["response"] = look.keys["response"]
    if look.shape == "alpaca" and look.has("history"):
        columns["history"] = "history"
    if look.shape == "prompt_completion" and look.kinds.get("label") == "flag":
        columns["kto_tag"] = "label"
    return _advise(look, {"columns": {**columns, **_others(look)}})


def _advise_preference(look: Look) -> Advice:
    if look.has_inner_prompt:
        return convert_first("LLaMA-Factory", "preference", "the prompt lies inside the object `input`")
    sides = {role: look.keys[role] for role in ("chosen", "rejected") if role in look.keys}
    kinds = (look.kind("prompt"), look.kind("chosen"), look.kind("rejected"))
    if kinds == ("text", "text", "text"):
        columns = {"prompt": look.keys["prompt"], **_input(look), **sides, **_others(look)}
        return _advise(look, {"ranking": True, "columns": columns})
    is_turns = kinds == ("turns", "turn", "turn")
    if is_turns or kinds == ("messages", "message", "message"):
        entry = {
            "formatting": "sharegpt",
            "ranking": True,
            "columns": {"messages": look.keys["prompt"], **sides, **_others(look)},
            "tags": _tags(is_turns=is_turns),
        }
        return _advise(look, entry, (_ALTERNATE,))
    if kinds == ("messages", "messages", "messages"):
        return _advise_lists(look, sides)
    return convert_first("LLaMA-Factory", "preference", "prompt and sides are not of kinds that go together")


def _input(look: Look) -> dict[str, str]:
    return {"query": "input"} if look.keys["prompt"] == "instruction" and look.has("input") else {}


def _advise_lists(look: Look, sides: Mapping[str, str]) -> Advice:
    lines = [
        *load_lines(look),
        "",
        "",
        "def to_single_messages(example):",
        f"    return {{side: example[side][-1] for side in ({', '.join(quote(name) for name in sides.values())})}}",
        "",
        "",
        'dataset.map(to_single_messages).to_json("for_llamafactory.jsonl")',
    ]
    entry = {
        "for_llamafactory": {
            "file_name": "for_llamafactory.jsonl",
            "formatting": "sharegpt",
            "ranking": True,
            "columns": {"messages": look.keys["prompt"], **sides},
            "tags": _tags(is_turns=False),
        }
    }
    notes = ("LLaMA-Factory wants one message on each side, not a list; these lines write such a file.", _ALTERNATE)
    return Advice((("python", "\n".join(lines)), ("json", json.dumps(entry, indent=2))), notes)
