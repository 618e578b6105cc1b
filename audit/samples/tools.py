"""Tools that a conversation offers and calls, as JSON text in the form that chat templates take.

That form: `{"type": "function", "function": {"name", "arguments" or "parameters"}}`, arguments as an object. Datasets
also write arguments as JSON text, calls as text of a turn, and the older `functions` and `function_call`.
"""

from __future__ import annotations

import json
from typing import Any

from audit.samples.family import Fields, UnreadableRecord
from audit.samples.text import clean_text, kind_of


def read_tools(record: Fields) -> str:
    """Return the tools of a record (`tools`, a list or JSON text of one; else `functions`), or an empty text.

    Raises:
        UnreadableRecord: they are neither.
    """
    found = record.get("tools")
    if found in (None, "", []):
        found = record.get("functions")
    tools = _parse(found) if isinstance(found, str) else found
    if tools in (None, "", [], {}, "none", "None"):
        return ""
    if isinstance(tools, dict):
        tools = [tools]
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise UnreadableRecord(f"bad_tools: 'tools' is {kind_of(found)}, not a list of objects or the JSON text of one")
    return _write([_wrap(tool) for tool in tools])


def read_tool_calls(message: Fields, field: str) -> str:
    """Return the calls of a message (`tool_calls`, else the older `function_call`), or an empty text.

    Raises:
        UnreadableRecord: they are no list of objects.
    """
    found = message.get("tool_calls")
    if found in (None, "", []):
        old = message.get("function_call")
        found = [old] if isinstance(old, dict) else None
    calls = _parse(found) if isinstance(found, str) else found
    if calls in (None, "", [], {}):
        return ""
    if isinstance(calls, dict):
        calls = [calls]
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise UnreadableRecord(f"bad_tools: 'tool_calls' of {field} is {kind_of(found)}, not a list of objects")
    return _write([_read_call(call) for call in calls])


def read_written_call(text: str) -> str:
    """Return the calls that a turn of its own spells as JSON; a text that is none becomes the name of the call."""
    calls = _parse(text)
    calls = calls if isinstance(calls, list) else [calls]
    if not all(isinstance(call, dict) for call in calls):
        calls = [{"name": text.strip(), "arguments": {}}]
    return _write([_read_call(call) for call in calls])


def count_calls(tool_calls: str) -> int:
    """Return how many calls the JSON list holds."""
    return len(json.loads(tool_calls)) if tool_calls else 0


def _read_call(call: dict[str, Any]) -> dict[str, Any]:
    wrapped = _wrap(call)
    function = wrapped["function"]
    if isinstance(function, dict) and isinstance(function.get("arguments"), str):
        arguments = _parse(function["arguments"])
        if isinstance(arguments, dict):
            wrapped = {**wrapped, "function": {**function, "arguments": arguments}}
    return wrapped


def _wrap(item: dict[str, Any]) -> dict[str, Any]:
    return item if isinstance(item.get("function"), dict) else {"type": "function", "function": item}


def _parse(text: str) -> Any:
    try:
        return json.loads(text) if text.strip() else None
    except (ValueError, RecursionError):
        return text


def _write(value: Any) -> str:
    try:
        return json.dumps(_without_nulls(value), ensure_ascii=True)
    except (RecursionError, TypeError, ValueError) as error:
        raise UnreadableRecord(f"bad_tools: tools cannot be written as JSON ({type(error).__name__})") from error


def _without_nulls(value: Any) -> Any:
    """Leave out what is null: a table cannot tell an absent field from a null one, a template can."""
    if isinstance(value, dict):
        return {clean_text(str(key)): _without_nulls(own) for key, own in value.items() if own is not None}
    if isinstance(value, list):
        return [_without_nulls(own) for own in value]
    return clean_text(value) if isinstance(value, str) else value
