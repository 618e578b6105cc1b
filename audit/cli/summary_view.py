"""A summary as people read it: the answer first, then the verdict per trait, the facts, and what to type next."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from audit.cli.text import (
    command_line,
    count_noun,
    format_number,
    format_seconds,
    format_share,
    list_counts,
    one_line,
)
from audit.confound import MANY_TURNS
from audit.rules import Rule, parse_rule
from audit.trivial import describe_predictor, format_auc

VERDICT_LOOKS = {
    "clear": ("✓", "green"),
    "watch": ("◆", "bold yellow"),
    "risk": ("▲", "bold red"),
    "undecided": ("?", "bold magenta"),
}
HEADLINES = {
    "clear": "CLEAR: no trait stands out from clean data",
    "watch": "WATCH: a small but real shift",
    "risk": "RISK: training on this data would likely shift the model",
    "undecided": "UNDECIDED: nothing could be judged",
}
NOTABLE_CORRELATION = 0.3
NOTABLE_AUC = 0.7
"""Of the lower end of the interval, for one mark alone; above another bound there is a notice as well."""

_MOST_INPUTS = 5
_FRAMED_WIDTH = 90
_EVIDENCE_WIDTH = 96
"""From this width on pooled evidence stands beside the verdicts, below it has a line of its own."""

_FRAMED_EVIDENCE_WIDTH = 106
_ORDER = ("risk", "watch", "clear", "undecided")


def render_summary(values: Mapping[str, Any], console: Console) -> Iterator[RenderableType]:
    """Yield the blocks of a summary from top to bottom."""
    yield _headline(values)
    yield Text()
    if values["verdicts"]:
        has_evidence = _has_evidence(values) and console.width >= _EVIDENCE_WIDTH
        framed_width = _FRAMED_EVIDENCE_WIDTH if has_evidence else _FRAMED_WIDTH
        is_framed = console.color_system is not None and console.width >= framed_width
        yield _indented(_verdict_table(values, is_framed=is_framed, has_evidence=has_evidence))
        yield Text()
        yield _indented(_reasons(values))
        yield Text()
    yield _indented(_facts(values, has_evidence=console.width < _EVIDENCE_WIDTH))
    if values["notices"]:
        yield Text()
        yield _indented(_notices(values))
    yield Text()
    yield from _next_steps(values)


def _headline(values: Mapping[str, Any]) -> Text:
    if values["state"] != "finished":
        total = sum(entry["n_records"] for entry in values["inputs"])
        done = values["counts"]["n_samples"]
        words = f"UNFINISHED: {done:,} of {count_noun(total, 'record')} stored; the same scan command continues"
        return Text(words, style="bold yellow")
    found: dict[str, list[str]] = {}
    for row in values["verdicts"]:
        found.setdefault(row["verdict"], []).append(row["trait"])
    worst = next((verdict for verdict in _ORDER if verdict in found), "undecided")
    mark, style = VERDICT_LOOKS[worst]
    traits = "" if worst in ("clear", "undecided") else f" ({', '.join(found[worst])})"
    headline = Text.assemble((f"{mark} {HEADLINES[worst]}{traits}", style))
    if worst == "clear" and "undecided" in found:
        headline.append(f"; undecided: {', '.join(found['undecided'])}")
    return headline


def _has_evidence(values: Mapping[str, Any]) -> bool:
    # A run written by an older version has no such fields.
    return any(row.get("evidence_z_pooled") is not None for row in values["verdicts"])


def _verdict_table(values: Mapping[str, Any], *, is_framed: bool, has_evidence: bool) -> Table:
    mean = "mean" if values["baseline"]["kind"] == "none" else "mean Δ"
    table = Table(
        box=box.ROUNDED if is_framed else box.SIMPLE_HEAD,
        show_edge=is_framed,
        border_style="dim",
        padding=(0, 1) if is_framed else (0, 1, 0, 0),
    )
    table.add_column("trait", style="bold", overflow="fold")
    evidence = ["Z (band)"] if has_evidence else []
    for name in (mean, "95 % interval", "d", *evidence, "flagged", "expected"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("verdict", overflow="fold")
    for row in values["verdicts"]:
        mark, style = VERDICT_LOOKS[row["verdict"]]
        table.add_row(
            one_line(row["trait"]),
            format_number(row["mean_difference"], signed=True),
            _interval(row),
            format_number(row["cohens_d"], 2, signed=True),
            *([_evidence_of(row)] if has_evidence else []),
            f"{row['n_flagged']:,}",
            format_number(row["expected_false_flags"], 1),
            Text(f"{mark} {row['verdict']}", style=style),
        )
    return table


def _evidence_of(row: Mapping[str, Any]) -> str:
    if row.get("evidence_z_pooled") is None:
        return "–"
    return f"{format_number(row['evidence_z_pooled'], 1, signed=True)} ({format_number(row['evidence_band'], 1)})"


def _interval(row: Mapping[str, Any]) -> str:
    if row["ci_low"] is None:
        return "–"
    return f"{format_number(row['ci_low'], signed=True)} to {format_number(row['ci_high'], signed=True)}"


def _reasons(values: Mapping[str, Any]) -> Table:
    grid = _grid()
    reasons = [row["reason"] for row in values["verdicts"]]
    if len(reasons) > 1 and len(set(reasons)) == 1:
        grid.add_row("all traits", one_line(str(reasons[0])))
        return grid
    for row in values["verdicts"]:
        grid.add_row(one_line(row["trait"]), one_line(str(row["reason"])))
    return grid


def _facts(values: Mapping[str, Any], *, has_evidence: bool) -> Table:
    grid = _grid()
    inputs = values["inputs"]
    for number, entry in enumerate(inputs[:_MOST_INPUTS]):
        words = (
            f"{one_line(entry['path'])} – {count_noun(entry['n_records'], 'record')}, {one_line(entry['description'])}"
        )
        grid.add_row("data" if number == 0 else "", words)
    if len(inputs) > _MOST_INPUTS:
        grid.add_row("", f"and {count_noun(len(inputs) - _MOST_INPUTS, 'more file')}")
    grid.add_row("model", _model(values["model"]))
    grid.add_row("vectors", _vectors(values))
    grid.add_row("baseline", _baseline(values["baseline"]))
    if values["baseline"].get("auto"):
        grid.add_row("predicted", _predicted(values["baseline"]))
    grid.add_row("records", _records(values["counts"]))
    if has_evidence and _has_evidence(values):
        found = ", ".join(f"{one_line(row['trait'])} {_evidence_of(row)}" for row in values["verdicts"])
        grid.add_row("evidence", f"pooled Z (band of random directions): {found}")
    if values["state"] == "finished":
        grid.add_row("flagged", _flagged(values["counts"], parse_rule(values["flagging"]["rule"])))
        by_turns = _flagged_by_turns(values.get("flagged_by_turns") or [])
        if by_turns:
            grid.add_row("by turns", by_turns)
        if values["counts"].get("n_near_flagged"):
            grid.add_row("near flags", _near_flagged(values["counts"]))
        told = [row for row in values.get("unnamed_directions") or [] if row["high_keywords"] or row["low_keywords"]]
        for number, row in enumerate(told):
            grid.add_row("unnamed" if number == 0 else "", _unnamed(row))
        grid.add_row("reference", _reference(values["reference"]))
    goes_with = _goes_with(values["correlations"])
    if goes_with:
        grid.add_row("goes with", goes_with)
    told_by = _told_by(values.get("predictors") or {})
    if told_by:
        grid.add_row("told by", told_by)
    languages = values.get("languages") or {}
    if len(languages) > 1:
        grid.add_row("languages", list_counts({one_line(code): n for code, n in languages.items()}))
    if values["timing"]:
        grid.add_row("time", _time(values))
    return grid


def _model(model: Mapping[str, Any]) -> str:
    bundled = " (the bundled demo model)" if model["is_demo"] else ""
    return f"{one_line(str(model['id']))}{bundled}, {model['dtype']} on {one_line(str(model['device']))}"


def _vectors(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{one_line(vector['trait'])} (layer {vector['layer']})" for vector in values["vectors"])


def _baseline(baseline: Mapping[str, Any]) -> str:
    words = {
        "generate": "the model's own answer to each prompt",
        "file": "ready answers from a file",
        "prompt": "the last prompt token (cheap)",
        "none": "none: raw projections, which say less than differences",
    }.get(baseline["kind"], str(baseline["kind"]))
    # A run written by an older version drew none.
    if n_samples := baseline.get("samples"):
        words = f"the mean over {n_samples} drawn answers of the model's own to each prompt"
    if baseline["kind"] != "file" and str(baseline.get("generator")).startswith("server: "):
        words += f", from a {one_line(str(baseline['generator']))}"
    agreement = baseline["agreement"] or {}
    known = [f"{one_line(trait)} {format_number(r, 2)}" for trait, r in agreement.items() if r is not None]
    if baseline.get("n_prompts") is not None:
        words += f" ({_answers(baseline)})"
    return f"{words}; the cheap baseline agrees r = {', '.join(known)}" if known else words


def _predicted(baseline: Mapping[str, Any]) -> str:
    """Return what was not generated, how well it is predicted, and what that may miss."""
    auto, n_prompts = baseline["auto"], baseline["n_prompts"]
    n_answered = (baseline["n_generated"] + baseline["n_cached"]) / (baseline.get("samples") or 1)
    r2 = ", ".join(f"{one_line(trait)} {format_number(value, 2)}" for trait, value in auto["r2"].items())
    expected = auto["expected_misses"] / max(auto["n_found"] + auto["expected_misses"], 1)
    what = "rows that could be flagged" if auto["has_reference"] else "rows in the top twentieth of a trait"
    return (
        f"{format_share((n_prompts - n_answered) / n_prompts)} of the answers, out-of-sample R² {r2}; of the {what}, "
        f"{expected:.1%} missed as expected, at most {auto['miss_bound']:.1%} ({auto['confidence']:.0%} confidence)"
    )


def _answers(baseline: Mapping[str, Any]) -> str:
    tokens = f" with {count_noun(baseline['n_generated_tokens'], 'token')}" if baseline["n_generated"] else ""
    failed = f", {baseline['n_failed']:,} failed" if baseline.get("n_failed") else ""
    n_samples = baseline.get("samples")
    each, made = (f", {n_samples} answers each", "made") if n_samples else ("", "answered")
    return (
        f"{count_noun(baseline['n_prompts'], 'distinct prompt')}{each}: {baseline['n_generated']:,} {made}{tokens}, "
        f"{baseline['n_cached']:,} from the cache{failed}"
    )


def _records(counts: Mapping[str, Any]) -> str:
    words = f"{counts['n_samples']:,}: {counts['n_ok']:,} scored, {counts['n_skipped']:,} skipped"
    if counts["skipped_reasons"]:
        words += f" ({list_counts(counts['skipped_reasons'])})"
    words += f"; {count_noun(counts['n_turns'], 'turn')}"
    other = {name: n for name, n in counts["turn_statuses"].items() if name != "ok"}
    if other:
        words += f" ({list_counts(other)})"
    if counts.get("truncated_share"):
        words += f"; {format_share(counts['truncated_share'])} of them cut at --max-tokens or the model's context"
    # A run written by an older version did not tell reasoning from answers.
    reasoning = counts.get("reasoning_statuses") or {}
    return f"{words}; reasoning apart: {list_counts(reasoning)}" if reasoning else words


def _flagged(counts: Mapping[str, Any], rule: Rule) -> str:
    # A record is judged if one of its scores could be flagged; a run written by an older version did not count them.
    n_judged = counts.get("n_judged")
    among = f"{counts['n_ok']:,} scored" if n_judged is None else f"{n_judged:,} judged"
    words = f"{counts['n_flagged']:,} of {among} ({format_share(counts['flagged_share'])}), {rule.words}"
    if counts["expected_false_flags"] is not None:
        words += f"; at most about {counts['expected_false_flags']:,.1f} by chance"
    return words


def _flagged_by_turns(rows: Sequence[Mapping[str, int]]) -> str:
    """Return the flagged share by number of scored turns; nothing where all have one number, or none is flagged."""
    if len(rows) < 2 or not any(row["n_flagged"] for row in rows):
        return ""
    shares = (
        f"{row['n_scored_turns']}{' or more' if row is rows[-1] and row['n_scored_turns'] >= MANY_TURNS else ''}: "
        f"{format_share(row['n_flagged'] / row['n_records'])} of {row['n_records']:,}"
        for row in rows
    )
    return f"flagged share by scored turns: {', '.join(shares)}"


def _near_flagged(counts: Mapping[str, Any]) -> str:
    n_flagged, n_compared = counts["n_flagged"], counts["n_flagged_compared"]
    verb = "says" if counts["n_near_flagged"] == 1 else "say"
    words = f"{count_noun(counts['n_near_flagged'], 'more record')} {verb} nearly what a flagged one says"
    if n_compared < n_flagged:
        words += f", of which a random {n_compared:,} were compared"
    return f"{words}; query --name near_flagged"


def _unnamed(row: Mapping[str, Any]) -> str:
    """Return what lies along a direction that no trait explains."""
    spread = "" if row["spread"] is None else f"{row['spread']:.1f} times the clean variance; "
    high, low = (", ".join(map(one_line, (row[end] or [])[:4])) or "–" for end in ("high_keywords", "low_keywords"))
    return f"{spread}from {low} to {high}"


def _reference(reference: Mapping[str, Any] | None) -> str:
    if reference is None:
        return "none, and no scores that can stand in for one; name clean data with --reference"
    if reference.get("kind") == "within":
        return (
            f"{one_line(str(reference['source']))} ({count_noun(reference['n'], 'record')}): weaker than clean data, "
            "which --reference names"
        )
    return f"{one_line(str(reference['source']))} ({count_noun(reference['n'], 'record')})"


def _goes_with(correlations: Mapping[str, Mapping[str, float | None]]) -> str:
    notable = [
        f"{one_line(trait)} with {column} (r = {r:+.2f})"
        for trait, columns in correlations.items()
        for column, r in columns.items()
        if r is not None and abs(r) >= NOTABLE_CORRELATION
    ]
    return "; ".join(notable)


def _told_by(predictors: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the marks that alone tell flagged rows from others rather well, or rows at the top where none is."""
    notable = [
        f"{one_line(trait)} {'flags' if found['of'] == 'flagged' else 'at the top'} by "
        f"{describe_predictor(name, own['direction'])}, AUC {format_auc(own)}"
        for trait, found in predictors.items()
        for name, own in found["marks"].items()
        if own["low"] >= NOTABLE_AUC
    ]
    return "; ".join(notable)


def _time(values: Mapping[str, Any]) -> str:
    timing = values["timing"]
    stages = ", ".join(f"{one_line(stage)} {format_seconds(seconds)}" for stage, seconds in timing.items())
    words = f"{format_seconds(sum(timing.values()))} ({stages})"
    if "n_scored" in values:
        words += f"; now {values['n_scored']:,} rows read, {values['n_reused']:,} reused"
    return words


def _notices(values: Mapping[str, Any]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="yellow", no_wrap=True)
    grid.add_column(overflow="fold")
    for notice in values["notices"]:
        grid.add_row("!", one_line(str(notice)))
    return grid


def _next_steps(values: Mapping[str, Any]) -> Iterator[Text]:
    run = str(values["run"])
    yield Text.assemble(("run  ", "dim"), one_line(run))
    if values["state"] != "finished" or not values["vectors"]:
        return
    trait = max(values["verdicts"], key=lambda row: row["n_flagged"])["trait"] if values["verdicts"] else ""
    yield Text.assemble(("next ", "dim"), command_line("persona-audit", "show", run, "--top", trait))
    yield Text(f"     {command_line('persona-audit', 'query', run, '--name', 'flagged')}")
    yield Text(f"     {command_line('persona-audit', 'export', run, '--output', _clean_name(values['inputs']))}")


def _clean_name(inputs: Sequence[Mapping[str, Any]]) -> str:
    """Return a name for an export that keeps its input's suffix, or of a directory for several inputs."""
    if len(inputs) > 1:
        return "clean"
    name = re.sub(r"\.(gz|zst)$", "", str(inputs[0]["path"]), flags=re.IGNORECASE)
    is_directory = inputs[0]["container"] == "arrow" and not name.lower().endswith(".arrow")
    return "clean" if is_directory else f"clean{os.path.splitext(name)[1] or '.jsonl'}"


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid


def _indented(block: RenderableType) -> Padding:
    return Padding(block, (0, 0, 0, 2))
