"""A trait specification as a TOML file that a person can read and edit."""

from __future__ import annotations

import os
import re
import secrets
from pathlib import Path
from typing import Any

from audit.errors import TraitError
from audit.traits.layout import build_spec, plain_values
from audit.traits.spec import TraitSpec

LINE_CHARS = 110

_LINES = ("name", "description", "language", "licence")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\t": "\\t"}
_HEADER = "# A trait: what is asked of a model, and of a judge, to measure it. `persona-audit traits check` reads it.\n"


def write_spec(path: str | Path, spec: TraitSpec, *, overwrite: bool = False) -> TraitSpec:
    """Write a specification as TOML and return it as it reads back: without white space around its texts.

    The file appears whole or not at all, and no file is replaced unless told so.

    Raises:
        TraitError: a file of this name exists, does not end in .toml, or cannot be written; or the specification
            holds what no file may, such as a wrong name or control characters.
    """
    target = Path(path)
    if target.suffix.lower() != ".toml":
        raise TraitError(str(path), "a specification is written as TOML", "name the file .toml")
    tidy = build_spec(plain_values(spec), str(path))
    content = render_toml(tidy).encode()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _put(content, target, overwrite=overwrite)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(target):
            raise TraitError(str(path), "exists already", "choose another name, or have it replaced") from error
        raise TraitError(str(path), f"cannot be written: {error.strerror}", "choose another place") from error
    return tidy


def render_toml(spec: TraitSpec) -> str:
    """Return a specification as TOML; equal specifications give equal text."""
    values = plain_values(spec)
    lines = [_HEADER]
    lines += [
        f"{key} = {_quote(values[key])}" for key in ("name", "description", "language", "licence") if key in values
    ]
    lines += ["", "# What a judge is told about the numbers from 0 to 100.", f"rubric = {_quote_long(spec.rubric)}"]
    if not spec.pairs:
        lines.append("pairs = []")
    if "assistant" in values:
        lines += ["", "# Who the assistant is: a system prompt opens with it.", "[assistant]"]
        lines += [f"{key} = {_quote(text)}" for key, text in values["assistant"].items()]
    if spec.pairs:
        lines += ["", "# System prompts that ask for the trait, and against it."]
    for pair in values["pairs"]:
        lines += ["[[pairs]]", *(f"{side} = {_quote_long(text)}" for side, text in pair.items()), ""]
    lines += ["# Vectors are extracted on the first, and tried on the second.", "[questions]"]
    for kind, questions in values["questions"].items():
        lines += [f"{kind} = [", *(f"    {_quote(question)}," for question in questions), "]"]
    return "\n".join(lines) + "\n"


def _quote(text: Any) -> str:
    return '"' + "".join(_ESCAPES.get(char, char) for char in text).replace("\n", "\\n") + '"'


def _quote_long(text: str) -> str:
    """Return long text as a string of several lines; a backslash at a line's end says that the text goes on."""
    if "\n" not in text and len(text) <= LINE_CHARS:
        return _quote(text)
    escaped = text.replace("\\", "\\\\").replace('"""', '""\\"')
    wrapped = [_wrap(line) for line in escaped.split("\n")]
    # The line break after the last line is white space around the text, and is dropped on reading.
    return '"""\n' + "\n".join(wrapped) + '\n"""'


def _wrap(line: str) -> str:
    lines = [""]
    for word in re.findall(r"\s*\S+\s*|\s+", line):
        if lines[-1] and len(lines[-1]) + len(word.rstrip()) > LINE_CHARS:
            lines.append("")
        lines[-1] += word
    return "\\\n".join(lines)


def _put(content: bytes, target: Path, *, overwrite: bool) -> None:
    part = target.with_name(f".{os.getpid()}-{secrets.token_hex(8)}.part")
    try:
        with open(part, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(part, target)
        else:
            _link(part, target)
    finally:
        part.unlink(missing_ok=True)


def _link(part: Path, target: Path) -> None:
    """Give a file its name, which nobody else may have taken since."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: the name is taken first, by an empty file.
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(part, target)
