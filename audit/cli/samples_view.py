"""A sample as people read it: who said what, what the model itself would have said, and the scores."""

from __future__ import annotations

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
    ("projection", "projection"),
    ("baseline", "baseline_projection"),
    ("last prompt token", "prompt_projection"),
)


def render_sample(sample: Mapping[str, Any], *, max_chars: int | None) -> Iterator[RenderableType]:
    """Yield the blocks of a sample from top to bottom."""
    yield _title(sample)
    if sample["status"] != "ok" and sample["reason"]:
        yield Text.assemble(("skipped ", "yellow"), neutralise(str(sample["reason"])))
    if sample["text_missing"]:
        yield Text.assemble(("texts are missing: ", "yellow"), neutralise(str(sample["text_missing"])))
    said: Sequence[Mapping[str, str]] = ()
    for turn in sample["turns"]:
        prompt = turn["prompt"] or []
        for message in _new_messages(said, prompt):
            yield from _speech(message["role"], message["content"], "cyan", max_chars)
        yield from _turn(turn, max_chars)
        said = [*prompt, {"role": "assistant", "content": turn["response"]}]
    yield Text()


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
    said: Sequence[Mapping[str, str]], prompt: Sequence[Mapping[str, str]]
) -> Sequence[Mapping[str, str]]:
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
        numbers = [format_number(score[column], signed=column == "projection_difference") for _, column in columns]
        table.add_row(one_line(trait), *numbers)
    return Padding(table, (0, 0, 0, 2))
