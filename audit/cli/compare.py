"""`persona-audit compare`: what changed between two runs."""

from __future__ import annotations

import click

from audit.cli.gate import exit_if_passed
from audit.cli.options import comparison_gate_options, json_option


@click.command(
    short_help="Say what changed between two runs.",
    epilog="""\b
Examples:
  persona-audit compare old.audit new.audit
  persona-audit compare main.audit branch.audit --fail-on "worsened or n_newly_flagged > 0"
  persona-audit compare main.audit branch.audit --fail-on "added_flagged_share > 5%" --json > changes.json

\b
Names that --fail-on knows here:
  is_different worsened has_drifted                  yes or no, of any trait
  n_added n_removed n_both added_share ...           rows
  n_newly_flagged newly_flagged_share ...            rows of both runs
  n_added_flagged added_flagged_share ...            rows of one run
  verdict_a.TRAIT verdict_b.TRAIT                    'clear', 'watch', 'risk', 'undecided'
  drift.TRAIT TRAIT.ks TRAIT.n_newly_flagged ...     shift of the mean in standard deviations, ...
An unknown name is answered with all of them.
""",
)
@click.argument("run_a", metavar="RUN_A", type=click.Path())
@click.argument("run_b", metavar="RUN_B", type=click.Path())
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    metavar="N",
    help="Rows named of each kind: added, removed, moved (of each trait).",
)
@comparison_gate_options
@json_option
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    run_a: str,
    run_b: str,
    *,
    rows: int,
    fail_on: tuple[str, ...],
    allow_undecided: bool,
    as_json: bool,
) -> None:
    """Say what changed from RUN_A to RUN_B: a new version of the data, another model, vector, reference or flag rule.

    Rows are matched by what they say, in whatever file, line or format. Scores are compared number by number where
    both runs measured the same thing, else in standard deviations of their references. Both runs must be finished.
    """
    from audit.cli.progress import listening
    from audit.compare import compare_runs
    from audit.limits import COMPARISON, check_limits, parse_limits

    limits = parse_limits(fail_on, vocabulary=COMPARISON)
    with listening(is_quiet=False) as listener:
        values = compare_runs(run_a, run_b, rows=rows, listener=listener)
    passed = check_limits(limits, values, allow_undecided=allow_undecided)
    if limits:
        values["limits_passed"] = passed
    if as_json:
        import json

        click.echo(json.dumps(values, indent=1, allow_nan=False))
    else:
        from audit.cli.compare_view import render_comparison
        from audit.cli.console import open_console, print_blocks

        console = open_console()
        print_blocks(render_comparison(values, console), console)
    exit_if_passed(ctx, passed)
