"""One number for what a conversation says, by which the rows of two versions of a dataset are matched.

It is made of what the reader made of the record, so that it is the same in every file, container and family that says
the same. It covers

- every side with its name, and its messages up to the last assistant turn, in order. A system prompt is the first of
  them, whether the record has it as a message or in a field of its own. With `--turns last` it is the same number;
- of a message its role and its text, exactly: case, white space and Unicode form count. Of an assistant message
  reasoning and answer, wherever the record keeps the reasoning;
- tools called, with their arguments, and tools offered; the order of keys does not count.

It leaves out where the record lies, its family, fields that are no part of the conversation, messages behind the last
assistant turn, marks that keep a turn out of training, and the names and ids that tie a tool's result to its call,
which some families cannot write. Records that agree in the rest have one number: it names a conversation, not a row.

The number stays what it is from version to version, since runs keep it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from audit.samples.reasoning import read_parts
from audit.samples.sample import Message, Turn


def hash_conversation(turns: Sequence[Turn]) -> int:
    """Return the number of the conversation that the turns of a record belong to, 0 to 2**63 - 1.

    It is the upper 63 bits of an 8-byte BLAKE2b digest (big-endian) of the JSON text, in UTF-8 and without spaces
    between its parts, of [[side, tools, messages], …], sides in alphabetical order. A message is [role, text]; that of
    an assistant [role, answer, reasoning, calls]. Tools and calls are JSON texts of their own, with sorted keys.
    """
    # The last turn of a side has all messages before it.
    last = {turn.side: turn for turn in sorted(turns, key=lambda turn: turn.turn)}
    sides = [
        [side, _write_functions(turn.tools), [_read_message(message) for message in (*turn.prompt, turn.message)]]
        for side, turn in sorted(last.items())
    ]
    # A lone surrogate that a reader let through must not end a scan.
    digest = hashlib.blake2b(_write(sides).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _read_message(message: Message) -> list[str]:
    if message.role != "assistant":
        return [message.role, message.content]
    parts = read_parts(message)
    # What stands around reasoning is the template's, or the record's own tags.
    return [message.role, parts["answer"], parts.get("reasoning", "").strip(), _write_functions(message.tool_calls)]


def _write_functions(text: str) -> str:
    """Return the functions of tools or calls without their wrapping, whose type and ids not every family writes."""
    if not text:
        return ""
    try:
        return _write([item.get("function", item) for item in json.loads(text)])
    except (RecursionError, ValueError):
        # Nested too deep, or a number too long, to be read again: then it counts as the reader wrote it.
        return text


def _write(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
