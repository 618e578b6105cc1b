"""`persona-audit cache`: what is kept of the model's own answers, and how to be rid of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from audit.cli.options import json_option
from audit.cli.text import count_noun, one_line

if TYPE_CHECKING:
    from audit.answers import CacheState


@click.group(short_help="Show or clear the cache of the model's own answers.")
def cache() -> None:
    """Show or clear the cache of the model's own answers (y′), which other scans use again.

    It lies in $PERSONA_AUDIT_CACHE, by default the user's cache directory, holds answers and hashes of prompts, and
    grows to $PERSONA_AUDIT_CACHE_SIZE, by default 2GiB: what was not used for longest leaves first.
    """


@cache.command(
    "show",
    epilog="""\b
Examples:
  persona-audit cache show
  persona-audit cache show --json
""",
)
@json_option
def show_cache(*, as_json: bool) -> None:
    """Print where the cache lies, how large it is, and what it holds of each model."""
    from audit.answers import cache_limit_bytes, cache_path, describe_cache

    state, limit_bytes = describe_cache(cache_path()), cache_limit_bytes()
    if as_json:
        _print_json({**asdict(state), "path": str(state.path), "limit_bytes": limit_bytes})
    else:
        _print_state(state, limit_bytes)


@cache.command(
    "clear",
    epilog="""\b
Examples:
  persona-audit cache clear
  persona-audit cache clear --model Qwen/Qwen2.5-7B-Instruct
""",
)
@click.option("--model", metavar="NAME", help="Only the answers of this model, named as `cache show` names it.")
@json_option
def clear(*, model: str | None, as_json: bool) -> None:
    """Remove the answers, without a question, and say what was removed. Runs keep what they hold."""
    from audit.answers import cache_path, clear_cache

    cleared = clear_cache(cache_path(), model)
    if as_json:
        _print_json({**asdict(cleared), "path": str(cleared.path)})
        return
    what = "a damaged cache" if cleared.n_answers is None else count_noun(cleared.n_answers, "answer")
    of_model = f" of {one_line(model)}" if model is not None else ""
    click.echo(f"removed {what}{of_model} from {one_line(str(cleared.path))}; {_mib(cleared.freed_bytes)} freed")


def _print_state(state: CacheState, limit_bytes: int) -> None:
    held = count_noun(state.n_answers, "answer") if state.exists else "nothing yet"
    click.echo(f"path     {one_line(str(state.path))}")
    click.echo(f"holds    {held}")
    click.echo(f"size     {_mib(state.size_bytes)} of at most {_mib(limit_bytes)}")
    for entry in state.models:
        words = f"{count_noun(entry.n_answers, 'answer')}, {_mib(entry.text_bytes)} of text"
        click.echo(f"model    {one_line(entry.model)}: {words}, last used {_day(entry.last_used)}")


def _day(seconds: float) -> str:
    import time

    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _mib(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:,.1f} MiB"


def _print_json(values: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(values, indent=1))
