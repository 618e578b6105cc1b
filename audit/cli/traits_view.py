"""Trait specifications as people read them: a table of all, the whole of one, and what a check found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.cli.text import count_noun, neutralise, one_line
from audit.traits import Finding, SpecFile, TraitSpec


def render_list(rows: Sequence[tuple[SpecFile, TraitSpec]]) -> Iterator[RenderableType]:
    """Yield a table with a row for each specification."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 2, 0, 0))
    for name in ("trait", "source", "language", "pairs", "questions", "description"):
        is_long = name == "description"
        table.add_column(name, no_wrap=not is_long, overflow="fold", justify="right" if name == "pairs" else "left")
    for found, spec in rows:
        cells = (spec.name, found.source, spec.language, str(len(spec.pairs)), _n_questions(spec), spec.description)
        table.add_row(*(Text(one_line(cell)) for cell in cells))
    yield table


def render_spec(spec: TraitSpec) -> Iterator[RenderableType]:
    """Yield the blocks of a specification from top to bottom."""
    yield Text.assemble((one_line(spec.name), "bold"), f"  {one_line(spec.description)}")
    facts = (f"language {spec.language}", f"licence {spec.licence or 'not given'}", f"sha256 {spec.digest[:12]}")
    yield Text(one_line("  ".join(facts)), style="dim")
    for number in range(len(spec.pairs)):
        yield from _heading(f"pair {number + 1}")
        # As the model is given them: with the sentence that says who it is.
        yield from _entries([("+", spec.system_prompt(number, "positive"))], "red")
        yield from _entries([("-", spec.system_prompt(number, "negative"))], "green")
    for title, questions in (
        ("questions for extraction", spec.extraction_questions),
        ("questions for evaluation", spec.evaluation_questions),
    ):
        yield from _heading(title)
        yield from _entries([(str(number), text) for number, text in enumerate(questions, start=1)], "dim")
    yield from _heading("rubric")
    yield Padding(_text(spec.rubric), (0, 0, 0, 2))


def describe_check(name: str, spec: TraitSpec | None, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the lines of a check: one that sums it up, and one for each finding."""
    if not findings and spec is not None:
        yield f"ok  {one_line(name)}: {count_noun(len(spec.pairs), 'pair')}, {_n_questions(spec)} questions"
        return
    counts = {kind: sum(finding.severity == kind for finding in findings) for kind in ("error", "warning")}
    yield f"{one_line(name)}: {', '.join(count_noun(n, kind) for kind, n in counts.items() if n)}"
    for finding in findings:
        yield f"    {finding.severity:<8} {one_line(finding.text)}"


def _heading(title: str) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, style="bold")


def _entries(entries: Sequence[tuple[str, str]], style: str) -> Iterator[RenderableType]:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for mark, text in entries:
        table.add_row(mark, _text(text))
    yield Padding(table, (0, 0, 0, 2))


def _text(text: str) -> Text:
    return Text(neutralise(text))


def _n_questions(spec: TraitSpec) -> str:
    return f"{len(spec.extraction_questions)} + {len(spec.evaluation_questions)}"
