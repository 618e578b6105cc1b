"""`persona-audit vectors`: what persona vectors there are, what is in them, and whether they fit a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.cli.options import json_option
from audit.cli.text import format_number, neutralise, one_line
from audit.errors import EXIT_USER, VectorError

if TYPE_CHECKING:
    from audit.vectors import PersonaVector


@click.group(short_help="Look at persona vectors and check them.")
def vectors() -> None:
    """Look at persona vectors and check them."""


@vectors.command(
    "list",
    epilog="""\b
Examples:
  persona-audit vectors list
  persona-audit vectors list my-vectors/ --json
""",
)
@click.argument("places", metavar="[DIR]...", nargs=-1, type=click.Path())
@json_option
@click.pass_context
def list_vectors(ctx: click.Context, *, places: tuple[str, ...], as_json: bool) -> None:
    """List the persona vectors in DIRs or files. Default: those of the demo model."""
    from audit.assets import demo_vectors_dir
    from audit.vectors import load_vector

    found: list[PersonaVector] = []
    broken: list[str] = []
    for path in _vector_files(places or (str(demo_vectors_dir()),)):
        try:
            found.append(load_vector(path))
        except VectorError as error:
            broken.append(str(error))
    if as_json:
        _print_json([_describe(vector) for vector in found])
    else:
        _print_table(found)
    for message in broken:
        click.echo(neutralise(f"cannot be used: {message}"), err=True)
    if broken:
        ctx.exit(EXIT_USER)


@vectors.command(
    "show",
    epilog="""\b
Examples:
  persona-audit vectors show my-vectors/evil.safetensors
""",
)
@click.argument("vector", metavar="VECTOR", type=click.Path())
@json_option
def show_vector(vector: str, *, as_json: bool) -> None:
    """Print what a persona vector says of itself, and its length at every layer."""
    from audit.vectors import load_vector

    loaded = load_vector(vector)
    norms = _norms(loaded)
    if as_json:
        _print_json({**_describe(loaded), "details": loaded.details, "norms": norms})
        return
    described = _describe(loaded) | {f"  {one_line(str(name))}": value for name, value in loaded.details.items()}
    width = max(len(name) for name in described) + 2
    for name, value in described.items():
        click.echo(f"{name:<{width}}{one_line(str(value), 400)}")
    longest = max(norms) or 1.0
    click.echo("norm by layer (* = scoring layer)")
    for layer, norm in enumerate(norms):
        mark = "*" if layer == loaded.layer else " "
        click.echo(f"  {layer:>3}{mark} {format_number(norm):>10}  {'▇' * round(40 * norm / longest)}".rstrip())


@vectors.command(
    "check",
    epilog="""\b
Examples:
  persona-audit vectors check my-vectors/evil.safetensors
  persona-audit vectors check my-vectors/*.safetensors --model Qwen/Qwen2.5-7B-Instruct
""",
)
@click.argument("files", metavar="VECTOR...", nargs=-1, required=True, type=click.Path())
@click.option("--model", metavar="PATH_OR_ID", help="Also check that the vectors were measured on this model.")
@click.option("--revision", metavar="REV", help="Revision of a model from the hub.")
@json_option
def check_vectors(*, files: tuple[str, ...], model: str | None, revision: str | None, as_json: bool) -> None:
    """Check that persona vectors can be used, and with --model that they fit it. Exit 2 if not."""
    from audit.vectors import check_fit, load_vector

    loaded = [load_vector(path) for path in _vector_files(files)]
    findings: dict[str, list[str]] = {vector.path: [] for vector in loaded}
    for vector in loaded:
        if not vector.has_report:
            findings[vector.path].append("no report: nothing tells how well it separates")
        if vector.fingerprint is None:
            findings[vector.path].append("no fingerprint: it does not say which model it was measured on")
    if model is not None:
        from audit.model.load import load_model

        fingerprint = load_model(model=model, revision=revision, device="cpu", n_blocks=1).fingerprint
        for vector in loaded:
            findings[vector.path] += check_fit(vector, fingerprint, vector.layer, model_id=model)
    if as_json:
        _print_json(
            [{**_describe(vector), "model_checked": model, "findings": findings[vector.path]} for vector in loaded]
        )
        return
    fits = f", fits {one_line(model)}" if model else " (fit to a model not checked: --model)"
    for vector in loaded:
        click.echo(f"ok  {one_line(vector.path)}: {vector.trait}, layer {vector.layer}{fits}")
        for finding in findings[vector.path]:
            click.echo(f"    {neutralise(finding)}")


def _vector_files(places: tuple[str, ...]) -> list[str]:
    from audit.vectors import SUFFIX

    files: list[str] = []
    for place in places:
        if not Path(place).exists():
            raise VectorError(place, "no such file or directory", f"name a directory of {SUFFIX} files")
        if not Path(place).is_dir():
            files.append(place)
            continue
        inside = sorted(str(file) for file in Path(place).glob(f"*{SUFFIX}"))
        if not inside:
            raise VectorError(place, f"no {SUFFIX} file in this directory", "name a directory of persona vectors")
        files += inside
    return files


def _describe(vector: PersonaVector) -> dict[str, Any]:
    return {
        "trait": vector.trait,
        "path": vector.path,
        "model": vector.model_id,
        "fingerprint": vector.fingerprint.digest if vector.fingerprint else None,
        "layer": vector.layer,
        "n_layers": vector.n_layers,
        "d_hidden": int(vector.vector_ld.shape[1]),
        "purpose": vector.purpose,
        "recipe": vector.recipe,
        "has_report": vector.has_report,
        "sha256": vector.sha256,
    }


def _norms(vector: PersonaVector) -> list[float]:
    import numpy as np

    return [float(norm) for norm in np.linalg.norm(vector.vector_ld.astype(np.float64), axis=1)]


def _print_table(found: list[PersonaVector]) -> None:
    from audit.cli.table_view import render_rows

    names = ("trait", "layer", "of", "norm", "purpose", "model", "path")
    rows = [
        (v.trait, v.layer, v.n_layers, _norms(v)[v.layer], v.purpose, v.model_id or "unknown", v.path) for v in found
    ]
    click.echo(render_rows(names, rows, cell_chars=None), nl=False)


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=1))
