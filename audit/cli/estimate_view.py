"""An estimate of a scan as people read it: what there is to do, how long it may take, what room it needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from audit.cli.text import count_noun, format_seconds, format_share, one_line

if TYPE_CHECKING:
    from audit.estimate import Estimate
    from audit.workload import Count


def print_estimate(estimate: Estimate, *, as_json: bool) -> None:
    """Print an estimate as JSON, or for people."""
    if as_json:
        click.echo(json.dumps(estimate.to_json(), indent=1))
        return
    for name, words in _describe(estimate):
        click.echo(f"{name:<10} {words}")


def _describe(estimate: Estimate) -> Iterator[tuple[str, str]]:
    unread = estimate.n_samples - estimate.n_readable
    yield "rows", f"{estimate.n_samples:,}" + (f", {unread:,} of which cannot be read" if unread else "")
    if estimate.n_done:
        yield "", f"{estimate.n_done:,} are scored already"
    yield "turns", f"{estimate.n_turns:,}; {_range(estimate.n_parts)} answers and reasonings can be scored"
    yield "tokens", f"{_range(estimate.prompt_tokens)} of prompts, {_range(estimate.response_tokens)} of responses"
    if estimate.n_prompts.value:
        each = f", {estimate.n_answers_each} answers each" if estimate.n_answers_each > 1 else ""
        yield "prompts", f"{_range(estimate.n_prompts)} distinct to answer{each}, {_range(estimate.n_cached)} cached"
        yield "generate", f"{_range(estimate.n_generated)} ({format_share(estimate.share_generated)})"
    else:
        yield "prompts", "none to answer"
    model = estimate.model
    yield (
        "model",
        f"{one_line(model['id'])}, {model['dtype']} on {model['device']}, {model['attention']} batches, "
        f"matrices: {model['matmul']}",
    )
    total = estimate.total_s
    yield (
        "time",
        f"about {format_seconds(total.value)} (an estimate from a timed part: "
        f"{format_seconds(total.low)} to {format_seconds(total.high)})",
    )
    yield "", ", ".join(f"{stage} {format_seconds(value)}" for stage, value in estimate.seconds.items())
    yield "disk", f"about {_size(estimate.disk_bytes)} in {one_line(estimate.run)}"
    yield "memory", f"up to about {_size(estimate.memory_bytes)}; the weights are {_size(estimate.weight_bytes)}"
    yield "", f"nothing was written; {count_noun(len(estimate.inputs), 'input')} read"


def _range(count: Count) -> str:
    if count.is_exact:
        return f"{round(count.value):,}"
    return f"about {round(count.value):,} ({round(count.low):,} to {round(count.high):,})"


def _size(n_bytes: int) -> str:
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
