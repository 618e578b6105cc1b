"""`persona-audit doctor`: what is here, what is missing, and how to get it."""

from __future__ import annotations

from typing import Any

import click

from audit.cli.options import json_option
from audit.cli.text import one_line
from audit.errors import EXIT_USER, ConfigError


@click.command(
    short_help="Check the installation.",
    epilog="""\b
Examples:
  persona-audit doctor
  persona-audit doctor --json
  persona-audit doctor --server http://localhost:8000
  persona-audit doctor --deep
  persona-audit doctor --deep --model Qwen/Qwen2.5-0.5B-Instruct --vectors vectors/
""",
)
@click.option("--server", metavar="URL", help="Also ask a server for `scan --baseline-server` what it serves.")
@click.option(
    "--deep",
    is_flag=True,
    help="Also let the model answer questions and check that what a scan measures of its own answers is what it must "
    "be: wrong prompts, spans and derivatives show, without any label.",
)
@click.option("--model", metavar="PATH_OR_ID", help="With --deep: the model. Default: the bundled demo model.")
@click.option("--vectors", multiple=True, metavar="PATH", help="With --deep: persona vectors. Can be repeated.")
@json_option
@click.pass_context
def doctor(
    ctx: click.Context,
    /,
    *,
    server: str | None,
    deep: bool,
    model: str | None,
    vectors: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check the installation: versions, devices, caches, bundled files. Exit 2 when something needed is missing."""
    from audit.doctor import examine, examine_setup

    if (model is not None or vectors) and not deep:
        raise ConfigError("--model" if model is not None else "--vectors", "is for --deep alone", "add --deep")
    found = examine(server)
    if deep:
        found["null_test"], problems = examine_setup(model, vectors)
        found["problems"] += problems
    if as_json:
        import json

        click.echo(json.dumps(found, indent=1))
    else:
        for line in _lines(found):
            click.echo(line)
    if found["problems"]:
        ctx.exit(EXIT_USER)


def _lines(found: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in found.items():
        if name in ("problems", "missing_optional"):
            continue
        if isinstance(value, dict):
            lines.append(name)
            lines += [f"  {key:<20} {_word(entry)}" for key, entry in value.items()]
        else:
            lines.append(f"{name:<22} {_word(value)}")
    for entry in found["missing_optional"]:
        lines.append(f"not installed: {entry['package']}, for {entry['needed_for']}: {entry['command']}")
    for entry in found["problems"]:
        lines.append(f"PROBLEM: {one_line(entry['finding'])} ({one_line(entry['cure'])})")
    if not found["problems"]:
        lines.append("nothing that is needed is missing")
    return lines


def _word(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list):
        return "; ".join(_word(entry) for entry in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_word(entry)}" for key, entry in value.items())
    return one_line(str(value))
