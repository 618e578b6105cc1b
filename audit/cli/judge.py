"""`persona-audit judge`: an LLM's second opinion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.cli.options import json_option, run_argument
from audit.cli.text import split_names
from audit.errors import ConfigError

if TYPE_CHECKING:
    from audit.events import Listener
    from audit.judges import Rater


@click.command(
    short_help="Ask an LLM about flagged records.",
    epilog="""\b
Examples:
  persona-audit judge demo.audit
  persona-audit judge train.audit --server http://localhost:8000/v1
  persona-audit judge train.audit --server http://localhost:8000/v1 --trait evil --random 500 --limit 1000
  persona-audit judge train.audit --server http://localhost:8000/v1 --spec my_trait.toml
  persona-audit export train.audit --output clean.jsonl --drop both
""",
)
@run_argument
@click.option(
    "--server",
    metavar="URL",
    help="OpenAI-compatible server of the judge. A key is read from PERSONA_AUDIT_API_KEY or OPENAI_API_KEY.",
)
@click.option("--server-model", metavar="NAME", help="The judge's name on that server. Default: its only model.")
@click.option(
    "--judge",
    "kind",
    type=click.Choice(["server", "demo"]),
    help="demo: the exact judge of the demo world, offline. Default: server where one is named, else demo for a scan "
    "with the demo model.",
)
@click.option("--trait", "traits", multiple=True, metavar="T", help="Ask about this trait only. Can be repeated.")
@click.option(
    "--spec",
    "specs",
    multiple=True,
    metavar="FILE",
    type=click.Path(),
    help="Trait specification with the rubric. Default: a file beside the vector, or what `traits list` shows under "
    "the trait's name. Can be repeated.",
)
@click.option(
    "--random",
    "n_random",
    type=click.IntRange(min=0),
    default=200,
    show_default=True,
    metavar="N",
    help="Records drawn from all that could be flagged, per trait: what the flags miss is told from these.",
)
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Most flagged records per trait. Default: all.")
@click.option(
    "--threshold",
    type=float,
    default=50,
    show_default=True,
    metavar="X",
    help="From this number on, of 0 to 100, the judge finds the trait.",
)
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=16, show_default=True, metavar="N", help="Requests at once."
)
@click.option(
    "--timeout", type=float, default=300, show_default=True, metavar="S", help="Seconds that one answer may take."
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of what is drawn.")
@json_option
@click.option("--quiet", is_flag=True, help="No progress and no notices.")
def judge(
    run: str,
    *,
    server: str | None,
    server_model: str | None,
    kind: str | None,
    traits: tuple[str, ...],
    specs: tuple[str, ...],
    n_random: int,
    limit: int | None,
    threshold: float,
    concurrency: int,
    timeout: float,
    seed: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Have a judge say how much the flagged records of RUN, and a random part of all, show each trait.

    The judge gives every answer a number from 0 to 100 by the rubric of the trait's specification; where the server
    gives probabilities, their mean. A record has the largest of its answers. Numbers are kept as they come: the same
    command continues, and asks again only for what is missing. They end in the relation `judge`; `export --drop both`
    leaves out what scores and judge agree on.
    """
    from audit.cli.progress import listening
    from audit.events import Noted
    from audit.opinions import judge_planned, plan_judging

    with listening(is_quiet=quiet) as listener:
        plan = plan_judging(
            run,
            traits=split_names(traits),
            n_random=n_random,
            limit=limit,
            threshold=threshold,
            seed=seed,
            spec_paths=[Path(spec) for spec in specs],
        )
        chosen = _choose_kind(kind, server, server_model, is_demo=plan.manifest["config"].get("model") is None)
        rater = _connect(chosen, server, server_model, concurrency, timeout, listener)
        for notice in plan.notices:
            listener(Noted(notice))
        found = judge_planned(plan, rater, has_context=chosen != "demo", listener=listener)
    if as_json:
        import dataclasses
        import json

        click.echo(json.dumps(dataclasses.asdict(found), indent=1, allow_nan=False))
        return
    from audit.cli.console import open_console, print_blocks
    from audit.cli.judge_view import render_opinions

    console = open_console()
    print_blocks(render_opinions(found), console)


def _choose_kind(kind: str | None, server: str | None, server_model: str | None, *, is_demo: bool) -> str:
    chosen = kind or ("server" if server is not None or server_model is not None or not is_demo else "demo")
    if chosen == "server" and server is None:
        raise ConfigError("judge", "no server is named", "name an OpenAI-compatible one with --server URL")
    if chosen == "demo" and (server is not None or server_model is not None):
        option = "--server" if server is not None else "--server-model"
        raise ConfigError(option, "--judge demo asks no server", "leave one of them out")
    if chosen == "demo" and not is_demo:
        raise ConfigError(
            "--judge demo", "it knows the demo world alone, and this run is of another model", "--server URL"
        )
    return chosen


def _connect(
    kind: str, server: str | None, server_model: str | None, concurrency: int, timeout: float, listener: Listener
) -> Rater:
    if kind == "demo":
        from audit.demo.exact_judge import DemoJudge
        from audit.judges import PlainRater

        return PlainRater(DemoJudge())
    from audit.judges import connect_judge
    from audit.server import OptionNames

    options: Any = OptionNames("--server", "--server-model")
    return connect_judge(
        str(server), model=server_model, timeout_s=timeout, n_concurrent=concurrency, options=options, listener=listener
    )
