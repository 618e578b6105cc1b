"""A preflight as people read it: one line of verdict per trainer, then what was found, with places and cures."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.cli.text import count_noun, format_share, list_counts, one_line
from audit.preflight import Finding, Preflight, TrainerReport
from audit.samples import load_families

_LOOKS = {"crashes": ("✗", "bold red"), "drops": ("◆", "bold yellow"), "surprise": ("▲", "magenta")}
_CLEAR = ("✓", "green")
_NOT_JUDGED = ("–", "dim")
_PLURAL = {"crashes": "crash", "drops": "are dropped", "surprise": "surprise"}
_SINGULAR = {"crashes": "crashes", "drops": "is dropped", "surprise": "surprises"}
_MOST_FILES = 5
_SHOWN_LINES = 3


def render_preflight(preflight: Preflight) -> Iterator[RenderableType]:
    """Yield the blocks of a preflight from top to bottom."""
    for report in preflight.trainers:
        yield describe_verdict(report, preflight.n_rows)
    yield Text()
    yield _indented(_facts(preflight))
    for report in preflight.trainers:
        if report.findings:
            yield Text()
            yield from _render_report(report)


def describe_verdict(report: TrainerReport, n_rows: int) -> Text:
    """Return `trl: 3 of 1,000 rows crash, 12 surprise`, that nothing was found, or that nothing was judged."""
    counts = {effect: n for effect, n in report.n_by_effect.items() if n}
    calm = _NOT_JUDGED if report.n_not_judged == n_rows else _CLEAR
    mark, style = _LOOKS[next(iter(counts))] if counts else calm
    words: list[str] = []
    for effect, n in counts.items():
        verb = (_SINGULAR if n == 1 else _PLURAL)[effect]
        words.append(f"{n:,} {verb}" if words else f"{n:,} of {count_noun(n_rows, 'row')} {verb}")
    found = ", ".join(words) or f"nothing found in {count_noun(n_rows - report.n_not_judged, 'row')}"
    if report.n_not_judged:
        which = f"not judged ({_name_families(report.not_judged)})"
        is_all = report.n_not_judged == n_rows
        found = which if is_all and not counts else f"{found}; {report.n_not_judged:,} {which}"
    stops = [finding for finding in report.findings if finding.rule.scope == "file" and not finding.rule.is_default]
    tail = "; a whole file stops" if stops else ""
    return Text.assemble((f"{mark} ", style), (report.trainer, "bold"), f": {found}{tail}")


def _name_families(names: tuple[str, ...]) -> str:
    return ", ".join(load_families()[name].says for name in names)


def _facts(preflight: Preflight) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    files = list(preflight.files.items())
    for path, description in files[:_MOST_FILES]:
        table.add_row("read", Text(f"{one_line(path)}: {one_line(description)}"))
    if len(files) > _MOST_FILES:
        table.add_row("", Text(f"and {count_noun(len(files) - _MOST_FILES, 'file')} more"))
    table.add_row("rows", Text(f"{preflight.n_rows:,}, of them {preflight.n_clean:,} that no trainer minds"))
    if preflight.n_other_shape:
        table.add_row("", Text(f"{preflight.n_other_shape:,} of another shape than their file"))
    if preflight.n_unreadable:
        n_unreadable = sum(preflight.n_unreadable.values())
        table.add_row("", Text(f"{n_unreadable:,} unreadable ({list_counts(dict(preflight.n_unreadable))})"))
    return table


def _render_report(report: TrainerReport) -> Iterator[RenderableType]:
    yield Text.assemble((report.trainer, "bold"), (f" {report.version}", "dim"))
    yield _indented(Text(f"taken for granted: {one_line(report.assumes)}", style="dim"))
    yield Text()
    table = Table(box=None, show_edge=False, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("effect", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("what happens", overflow="fold")
    for finding in report.findings:
        table.add_row(*_describe(finding))
    yield _indented(table)


def _describe(finding: Finding) -> tuple[RenderableType, ...]:
    rule = finding.rule
    _, style = _LOOKS[rule.effect]
    effect = Text("default" if rule.is_default else rule.effect, style="dim" if rule.is_default else style)
    lines = ", ".join(one_line(line) for line in finding.first_lines[:_SHOWN_LINES])
    n_places = len(finding.first_lines) if rule.place == "file" else finding.n_rows
    more = ", …" if n_places > _SHOWN_LINES else ""
    words = [Text.assemble((rule.code, "bold"), f"  {one_line(rule.says)}")]
    words.append(Text.assemble(("→ ", "green"), one_line(rule.cure)))
    if not rule.is_default:
        words.append(Text(f"{lines}{more}", style="dim"))
    return effect, f"{finding.n_rows:,}", format_share(finding.share), Group(*words)


def _indented(block: RenderableType) -> Padding:
    return Padding(block, (0, 0, 0, 2))
