"""`persona-audit vectors`: what persona vectors there are, what is in them, and whether they fit a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.cli.options import json_option
from audit.cli.text import neutralise, one_line
from audit.cli.vectors_exchange import add_files, export_file, import_file
from audit.cli.vectors_extract import extract_command
from audit.errors import EXIT_USER, ConfigError, VectorError

if TYPE_CHECKING:
    from audit.model.load import LoadedModel
    from audit.vectors import PersonaVector


@click.group(short_help="Extract persona vectors, look at them, check, import, export and keep them.")
def vectors() -> None:
    """Extract persona vectors, look at them, check them, import and export them, and keep those of a model."""


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
    """List the persona vectors in DIRs or files. Default: those of the demo model, then those that `add` keeps."""
    from audit.assets import demo_vectors_dir
    from audit.cli.vectors_view import describe_vector, find_own_auc, print_list
    from audit.vectors import list_cached, load_vector, vector_files

    files = vector_files(places) if places else [*vector_files([str(demo_vectors_dir())]), *list_cached()]
    found: list[PersonaVector] = []
    aucs: list[float | None] = []
    broken: list[str] = []
    for path in files:
        try:
            vector = load_vector(path)
            aucs.append(find_own_auc(vector))
        except VectorError as error:
            broken.append(str(error))
        else:
            found.append(vector)
    if as_json:
        _print_json([describe_vector(vector) | {"auc": auc} for vector, auc in zip(found, aucs, strict=True)])
    else:
        print_list(found, aucs)
    for message in broken:
        click.echo(neutralise(f"cannot be used: {message}"), err=True)
    if broken:
        ctx.exit(EXIT_USER)


@vectors.command(
    "show",
    epilog="""\b
Examples:
  persona-audit vectors show my-vectors/evil.safetensors
  persona-audit vectors show my-vectors/ --json
""",
)
@click.argument("files", metavar="VECTOR...", nargs=-1, required=True, type=click.Path())
@json_option
def show_vectors(*, files: tuple[str, ...], as_json: bool) -> None:
    """Print what persona vectors say of themselves, layer by layer; of several also how alike they are."""
    from audit.cli.vectors_view import (
        describe_vector,
        measure_cosines,
        measure_vector,
        print_cosines,
        print_vector,
    )
    from audit.vectors import load_vector, vector_files

    loaded = [load_vector(path) for path in vector_files(files)]
    if as_json:
        shown = [describe_vector(vector) | measure_vector(vector) for vector in loaded]
        _print_json({"vectors": shown, "cosines": measure_cosines(loaded)} if len(loaded) > 1 else shown[0])
        return
    for vector in loaded:
        print_vector(vector)
        if len(loaded) > 1:
            click.echo()
    if len(loaded) > 1:
        print_cosines(loaded)


@vectors.command(
    "check",
    epilog="""\b
Examples:
  persona-audit vectors check my-vectors/evil.safetensors
  persona-audit vectors check my-vectors/*.safetensors --model Qwen/Qwen2.5-7B-Instruct
  persona-audit vectors check my-vectors/*.safetensors --model Qwen/Qwen2.5-7B-Instruct --deep
""",
)
@click.argument("files", metavar="VECTOR...", nargs=-1, required=True, type=click.Path())
@click.option("--model", metavar="PATH_OR_ID", help="Also check that the vectors were measured on this model.")
@click.option("--revision", metavar="REV", help="Revision of a model from the hub.")
@click.option(
    "--deep",
    is_flag=True,
    help="With --model: let it answer questions, and check that evidence along the vectors is 0 on average on its own "
    "answers, as it must be.",
)
@click.option("--force", is_flag=True, help="Pass vectors, too, that separate no better than chance.")
@json_option
@click.pass_context
def check_vectors(
    ctx: click.Context,
    /,
    *,
    files: tuple[str, ...],
    model: str | None,
    revision: str | None,
    deep: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Check that persona vectors can be used and separate answers better than chance. Exit 2 if not.

    The separation is measured again from the held-out answers that a vector's report keeps; of one that keeps none,
    what the report says of its layer counts. With --model also check that the vectors were measured on it.
    """
    from audit.cli.vectors_view import describe_vector
    from audit.vectors import check_fit, load_vector, vector_files

    loaded = [load_vector(path) for path in vector_files(files)]
    findings: dict[str, list[str]] = {vector.path: [] for vector in loaded}
    failed: dict[str, str] = {}
    for vector in loaded:
        finding, is_failed = _check_separation(vector)
        findings[vector.path].append(finding)
        if is_failed:
            failed[vector.path] = finding
        if vector.fingerprint is None:
            findings[vector.path].append("no fingerprint: it does not say which model it was measured on")
    if model is not None:
        from audit.model.load import load_model

        # One block tells which model it is.
        audited = load_model(
            model=model, revision=revision, device="auto" if deep else "cpu", n_blocks=None if deep else 1
        )
        for vector in loaded:
            findings[vector.path] += check_fit(vector, audited.fingerprint, vector.layer, model_id=model)
        if deep:
            wrong = _check_null(audited, loaded)
            for vector in loaded:
                findings[vector.path] += wrong or ["evidence on the model's own answers is what it must be"]
                if wrong:
                    failed[vector.path] = wrong[0]
    elif deep:
        raise ConfigError("--deep", "needs the model that the vectors are of", "name it with --model")
    if as_json:
        checked = {vector.path: describe_vector(vector) | {"model_checked": model} for vector in loaded}
        passed = {path: force or path not in failed for path in checked}
        _print_json([values | {"passed": passed[path], "findings": findings[path]} for path, values in checked.items()])
    fits = f", fits {one_line(model)}" if model else " (fit to a model not checked: --model)"
    for vector in loaded if not as_json else ():
        mark = "ok  " if force or vector.path not in failed else "FAIL"
        click.echo(f"{mark}  {one_line(vector.path)}: {vector.trait}, layer {vector.layer}{fits}")
        for finding in findings[vector.path]:
            click.echo(f"    {neutralise(finding)}")
    if failed and not force:
        ctx.exit(EXIT_USER)


def _check_null(model: LoadedModel, vectors: Sequence[PersonaVector]) -> list[str]:
    """Return what is wrong with what a scan measures of the model's own answers."""
    from audit.assets import demo_model_dir
    from audit.nulltest import choose_questions, run_null_test

    is_demo = Path(model.id).resolve() == demo_model_dir().resolve()
    # Vectors of one trait may be checked together.
    directions = {
        f"{vector.trait} ({place})" if len(vectors) > 1 else vector.trait: (
            vector.layer,
            vector.vector_ld[vector.layer],
        )
        for place, vector in enumerate(vectors, start=1)
    }
    return run_null_test(model, directions, choose_questions(is_demo_model=is_demo)).findings


def _check_separation(vector: PersonaVector) -> tuple[str, bool]:
    """Return what is found of how a vector separates, and whether it fails by that."""
    from audit.extract.trust import recheck_vector
    from audit.vectors import find_auc, read_report

    if not vector.has_report:
        return "no report: nothing tells how well it separates", False
    report = read_report(vector.path)
    try:
        separation = recheck_vector(vector.vector_ld, vector.layer, report)
    except VectorError as error:
        return f"{error.finding} ({error.cure})", True
    if separation is not None:
        figures = (
            f"AUC {separation.auc:.3f} ({separation.low:.3f} to {separation.high:.3f}), null band up to "
            f"{separation.null_band:.3f}"
        )
        if separation.is_above_chance:
            return f"held-out answers separate: {figures}", False
        return f"held-out answers separate no better than by chance: {figures}", True
    unchecked = "its report keeps no answers to measure the separation from again"
    found = find_auc(report, vector.n_layers)
    if found is None:
        return unchecked, False
    auc = float(found.auc_l[vector.layer])
    chance = 0.5 if found.null_l is None else float(found.null_l[vector.layer])
    # Neither is above what is no number.
    is_failed = not auc > chance
    figures = f"AUC {auc:.3f}" + ("" if found.null_l is None else f", null band up to {chance:.3f}")
    return f"{unchecked}; by what it says: {figures}" + (", no better than chance" if is_failed else ""), is_failed


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=1))


for _command in (extract_command, import_file, export_file, add_files):
    vectors.add_command(_command)
