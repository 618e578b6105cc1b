"""A validation as people read it: per trait its scores beside trivial rivals, then what the flags are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.cli.text import count_noun, format_share, one_line
from audit.retrieval import Share
from audit.validation import FlagQuality, GroupShare, ScoreQuality, TraitQuality, Validation

_NAME_CHARS = 40


def render_validation(found: Validation) -> Iterator[RenderableType]:
    """Yield the blocks of a validation from top to bottom."""
    labelled = f"{found.n_labelled:,} of {count_noun(found.n_samples, 'record')} labelled"
    if found.n_labelled < found.n_samples:
        labelled += f", {found.n_samples - found.n_labelled:,} not"
    yield Text(f"{labelled} in {one_line(found.labels)}")
    for trait in found.traits:
        yield Text()
        yield from _render_trait(trait)
    if found.overall is not None and len(found.traits) > 1:
        yield Text()
        yield Text("all traits, a flag per record and trait", style="bold")
        yield _indented(_flag_grid(found.overall))
    if found.by_column is not None:
        yield Text()
        yield Text(f"flags by {one_line(found.by_column)}", style="bold")
        yield _indented(_group_table(found.by))
        yield _indented(
            Text(
                "without a trait: records whose labels show no trait, among all labelled and among all flagged records"
            )
        )
    for notice in found.notices:
        yield Text()
        yield _indented(Text.assemble(("! ", "yellow"), one_line(notice)))


def _render_trait(trait: TraitQuality) -> Iterator[RenderableType]:
    shown = f"{trait.n_positive:,} of {count_noun(trait.n, 'labelled record')} show it"
    if trait.n_unscored:
        shown += f"; {trait.n_unscored:,} more have no score ({trait.n_unscored_positive:,} show it)"
    yield Text.assemble((one_line(trait.trait), "bold"), f"  {shown}")
    if trait.reason:
        yield _indented(Text(trait.reason, style="yellow"))
    else:
        yield _indented(_score_table(trait.scores))
    yield _indented(_flag_grid(trait.flags))


def _score_table(scores: Sequence[ScoreQuality]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("score", overflow="fold", min_width=max(len(_name(score)) for score in scores))
    ks = list(dict.fromkeys(k for score in scores for k in score.precision_at))
    most = max(score.n for score in scores)
    for name in ("AUC", "95 %", "avg. P", *(f"P@{k}" for k in ks)):
        table.add_column(name, justify="right", overflow="fold")
    if any(score.n < most for score in scores):
        table.add_column("n", justify="right")
    for place, score in enumerate(scores):
        table.add_row(
            Text(_name(score), style="dim" if score.is_rival else "bold" if place == 0 else ""),
            "–" if score.auc is None else _short(score.auc.value, 3),
            "–" if score.auc is None else _range(score.auc.low, score.auc.high, 3),
            "–" if score.average_precision is None else _short(score.average_precision, 3),
            *(_precision(score.precision_at.get(k)) for k in ks),
            *([f"{score.n:,}"] if any(own.n < most for own in scores) else []),
        )
    return table


def _name(score: ScoreQuality) -> str:
    return one_line(score.name) + (" (small values)" if score.is_reversed else "")


def _flag_grid(flags: FlagQuality) -> RenderableType:
    if not flags.n_flagged:
        return Text("no flags: precision and false discoveries cannot be told")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    n_bare = flags.unlabelled.hits
    grid.add_row(
        "flags", f"{flags.n_flagged:,}, {n_bare:,.0f} of them ({format_share(flags.unlabelled.value)}) unlabelled"
    )
    grid.add_row("precision", _share(flags.precision))
    grid.add_row("recall", _share(flags.recall))
    grid.add_row("false share", _share(flags.false_share))
    return grid


def _group_table(groups: Sequence[GroupShare]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("value", overflow="fold")
    for name in ("records", "of data", "flagged", "of flags", "without a trait, of data", "of flags"):
        table.add_column(name, justify="right", overflow="fold")
    for group in groups:
        table.add_row(
            "(none)" if group.value is None else one_line(group.value, _NAME_CHARS),
            f"{group.data.hits:,.0f}",
            format_share(group.data.value),
            f"{group.flagged.hits:,.0f}",
            format_share(group.flagged.value),
            format_share(group.innocent_data.value),
            _interval_share(group.innocent_flagged),
        )
    return table


def _precision(share: Share | None) -> str:
    if share is None or share.value is None:
        return "–"
    return f"{_short(share.value, 2)} ({_range(share.low, share.high, 2)})"


def _range(low: float | None, high: float | None, digits: int) -> str:
    return "–" if low is None or high is None else f"{_short(low, digits)}–{_short(high, digits)}"


def _short(value: float, digits: int) -> str:
    """Return a number from 0 to 1 without the 0 before the point."""
    return f"{value:.{digits}f}".removeprefix("0") if value < 1 else f"{value:.{digits}f}"


def _share(share: Share) -> str:
    if share.value is None:
        return "– (there is none to count)"
    return f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%}), {share.hits:,.0f} of {share.n:,}"


def _interval_share(share: Share) -> str:
    return "–" if share.value is None else f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"


def _indented(block: RenderableType) -> Padding:
    return Padding(block, (0, 0, 0, 2))
