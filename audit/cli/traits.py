"""`persona-audit traits`: which traits there are, what a specification says, and whether it is fit for extraction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from audit.cli.options import json_option
from audit.cli.traits_write import write_trait
from audit.errors import EXIT_USER, ConfigError, TraitError

if TYPE_CHECKING:
    from audit.traits import Finding, TraitSpec

demo_option = click.option("--demo", "is_demo", is_flag=True, help="Names mean the traits of the demo model's world.")


@click.group(short_help="Look at trait specifications, check them, and have one drafted.")
def traits() -> None:
    """Look at trait specifications and check them.

    A specification is one TOML or YAML file: a description, contrastive pairs of system prompts, questions, and a
    rubric for judges. Several come with the program, apart from those of the demo model, which follows no others.
    """


def _complete_trait(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from audit.traits import find_specs

    source = "demo" if ctx.params.get("is_demo") else "shipped"
    names = [found.name for found in find_specs() if found.source == source]
    fitting = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return fitting or [CompletionItem(incomplete, type="file")]


@traits.command(
    "list",
    epilog="""\b
Examples:
  persona-audit traits list
  persona-audit traits list --json
""",
)
@json_option
def list_traits(*, as_json: bool) -> None:
    """List the traits that come with the program: `shipped` for any model, `demo` for the demo model."""
    from audit.traits import find_specs, read_spec

    rows = [(found, read_spec(found.path)) for found in find_specs()]
    if as_json:
        _print_json([{**_describe(spec), "source": found.source, "path": str(found.path)} for found, spec in rows])
        return
    from audit.cli.console import open_console, print_blocks
    from audit.cli.traits_view import render_list

    print_blocks(render_list(rows), open_console())


@traits.command(
    "show",
    epilog="""\b
Examples:
  persona-audit traits show sycophancy
  persona-audit traits show sycophancy --toml > my-trait.toml
  persona-audit traits show evil --demo
  persona-audit traits show my-trait.toml --json
""",
)
@click.argument("trait", metavar="NAME|FILE", shell_complete=_complete_trait)
@demo_option
@click.option("--toml", "as_toml", is_flag=True, help="Print the specification as a TOML file, to edit.")
@json_option
def show_trait(trait: str, *, is_demo: bool, as_toml: bool, as_json: bool) -> None:
    """Print a specification: prompts, questions and rubric."""
    if as_toml and as_json:
        raise ConfigError("--toml and --json", "exclude each other", "give one of them")
    from audit.traits import plain_values, render_toml, resolve_spec

    spec = resolve_spec(trait, is_demo_model=is_demo)
    if as_toml:
        click.echo(render_toml(spec), nl=False)
        return
    if as_json:
        _print_json({**plain_values(spec), "digest": spec.digest})
        return
    from audit.cli.console import open_console, print_blocks
    from audit.cli.traits_view import render_spec

    print_blocks(render_spec(spec), open_console())


@traits.command(
    "check",
    epilog="""\b
Examples:
  persona-audit traits check my-trait.toml
  persona-audit traits check evil my-traits/*.yaml --json
""",
)
@click.argument("names", metavar="FILE|NAME...", nargs=-1, required=True, shell_complete=_complete_trait)
@demo_option
@json_option
@click.pass_context
def check_traits(ctx: click.Context, *, names: tuple[str, ...], is_demo: bool, as_json: bool) -> None:
    """Check specifications: counts, repetition, pairs without contrast, questions that name the trait.

    Exit 2 if one of them cannot be read or cannot work; warnings alone exit 0.
    """
    checked = [(name, *_check(name, is_demo=is_demo)) for name in names]
    if as_json:
        _print_json([_report(*row) for row in checked])
    else:
        from audit.cli.traits_view import describe_check

        for row in checked:
            click.echo("\n".join(describe_check(*row)))
    if any(finding.severity == "error" for _, _, findings in checked for finding in findings):
        ctx.exit(EXIT_USER)


def _check(name: str, *, is_demo: bool) -> tuple[TraitSpec | None, list[Finding]]:
    from audit.traits import Finding, check_spec, resolve_spec

    try:
        spec = resolve_spec(name, is_demo_model=is_demo)
    except TraitError as error:
        # The name stands above already; a line of the file does not.
        text = str(error).removeprefix(f"{name}: ") if error.place == name else str(error)
        return None, [Finding("error", text, "file")]
    return spec, check_spec(spec)


def _report(name: str, spec: TraitSpec | None, findings: list[Finding]) -> dict[str, Any]:
    from dataclasses import asdict

    is_fit = all(finding.severity != "error" for finding in findings)
    described = _describe(spec) if spec else {"name": None}
    return {"checked": name, **described, "is_fit": is_fit, "findings": [asdict(finding) for finding in findings]}


def _describe(spec: TraitSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "description": spec.description,
        "language": spec.language,
        "licence": spec.licence,
        "n_pairs": len(spec.pairs),
        "n_extraction_questions": len(spec.extraction_questions),
        "n_evaluation_questions": len(spec.evaluation_questions),
        "digest": spec.digest,
    }


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=1))


traits.add_command(write_trait)
