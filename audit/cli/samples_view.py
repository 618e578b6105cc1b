"""A sample as people read it: who said what, what the model itself would have said, and the scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.cli.text import cut, format_number, neutralise, one_line

MAX_TEXT_CHARS = 1200
_COLUMNS = (
    ("difference", "projection_difference"),
    ("evidence z", "evidence_z"),
    ("prompted", "prompted_evidence"),
    ("projection", "projection"),
    ("baseline", "baseline_projection"),
    ("±", "standard_error"),
    ("last prompt token", "prompt_projection"),
)

_SIGNED = ("projection_difference", "evidence_z", "prompted_evidence")


def render_sample(sample: Mapping[str, Any], *, max_chars: int | None) -> Iterator[RenderableType]:
    """Yield the blocks of a sample from top to bottom."""
    yield _title(sample)
    if sample["status"] != "ok" and sample["reason"]:
        yield Text.assemble(("skipped ", "yellow"), neutralise(str(sample["reason"])))
    if sample["text_missing"]:
        yield Text.assemble(("texts are missing: ", "yellow"), neutralise(str(sample["text_missing"])))
    said: Sequence[Mapping[str, Any]] = ()
    for number, turn in enumerate(sample["turns"]):
        prompt = turn["prompt"] or []
        if number == 0 and turn["tools"]:
            yield from _speech("tools", _dump(turn["tools"]), "cyan", max_chars)
        # The parts of a turn share their prompt.
        if number == 0 or _place(turn) != _place(sample["turns"][number - 1]):
            for message in _new_messages(said, prompt):
                yield from _message(message, max_chars)
        yield from _turn(turn, max_chars)
        if turn["part"] == "answer" and turn["message"]:
            yield from _calls(turn["message"], max_chars)
        said = [*prompt, turn["message"]]
    yield Text()


def _place(turn: Mapping[str, Any]) -> tuple[str, int]:
    return turn["side"], turn["turn"]


def _message(message: Mapping[str, Any], max_chars: int | None) -> Iterator[RenderableType]:
    if message.get("reasoning"):
        yield from _speech(f"{message['role']}, reasoning", message["reasoning"], "cyan", max_chars)
    if message["content"] or "tool_calls" not in message:
        name = f" {message['name']}" if message.get("name") else ""
        yield from _speech(f"{message['role']}{name}", message["content"], "cyan", max_chars)
    yield from _calls(message, max_chars)


def _calls(message: Mapping[str, Any], max_chars: int | None) -> Iterator[RenderableType]:
    for call in message.get("tool_calls", ()):
        yield from _speech("tool call", _dump(call.get("function", call)), "cyan", max_chars)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _title(sample: Mapping[str, Any]) -> Text:
    title = Text.assemble(
        ("── ", "dim"),
        (f"sample {sample['sample_id']}", "bold"),
        f"  {one_line(str(sample['source']))}:{sample['line']}",
        (f"  {sample['format']}" if sample["format"] else "", "dim"),
    )
    if sample["flagged"]:
        traits = ", ".join(one_line(trait) for trait in sample["flagged_traits"])
        title.append(f"  ▲ flagged: {traits}", style="bold red")
    return title


def _new_messages(
    said: Sequence[Mapping[str, Any]], prompt: Sequence[Mapping[str, Any]]
) -> Sequence[Mapping[str, Any]]:
    """Return the messages of a prompt that were not shown with the turn before."""
    return prompt[len(said) :] if list(prompt[: len(said)]) == list(said) else prompt


def _turn(turn: Mapping[str, Any], max_chars: int | None) -> Iterator[RenderableType]:
    name = "assistant" if turn["side"] == "response" else f"assistant, {turn['side']}"
    if turn["part"] != "answer":
        name += f", {turn['part']}"
    if turn["response"] is not None:
        yield from _speech(name, turn["response"], "bold", max_chars)
    if turn["baseline_response"] is not None:
        yield from _speech("baseline", turn["baseline_response"], "dim", max_chars)
    elif turn["baseline_kind"] == "predicted":
        yield Text("baseline: predicted from the prompt, as a flag is too unlikely to generate one", style="dim")
    if turn["status"] != "ok":
        reason = f": {neutralise(str(turn['reason']))}" if turn["reason"] else ""
        yield Text.assemble((f"{turn['status']}{reason}", "yellow"))
    if turn["scores"]:
        yield _scores(turn)


def _speech(speaker: str, text: str, style: str, max_chars: int | None) -> Iterator[RenderableType]:
    yield Text(one_line(speaker), style=style)
    yield Padding(Text(neutralise(cut(text, max_chars)), overflow="fold"), (0, 0, 0, 2))


def _scores(turn: Mapping[str, Any]) -> Padding:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("trait")
    columns = [
        (title, column)
        for title, column in _COLUMNS
        if any(score[column] is not None for score in turn["scores"].values())
    ]
    for title, _ in columns:
        table.add_column(title, justify="right")
    for trait, score in turn["scores"].items():
        numbers = [format_number(score[column], signed=column in _SIGNED) for _, column in columns]
        table.add_row(one_line(trait), *numbers)
    return Padding(table, (0, 0, 0, 2))
