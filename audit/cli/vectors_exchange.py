"""`persona-audit vectors import | export | add`: vectors of other tools and for them, and the user's own."""

from __future__ import annotations

import click

from audit.cli.text import neutralise, one_line

_force = click.option("--force", is_flag=True, help="Write over a file that is there.")


@click.command(
    "import",
    epilog="""\b
Examples:
  persona-audit vectors import evil_response_avg_diff.pt --trait evil --layer 20 \\
      --model Qwen/Qwen2.5-7B-Instruct --output vectors/evil.safetensors
  persona-audit vectors import happy.gguf --trait happy --layer 14 --model ./model --output happy.safetensors
""",
)
@click.argument("file", metavar="FILE", type=click.Path())
@click.option("--trait", required=True, metavar="NAME", help="Trait that the vector is of.")
@click.option("--model", required=True, metavar="PATH_OR_ID", help="Model that it was measured on.")
@click.option("--revision", metavar="REV", help="Revision of a model from the hub.")
@click.option("--layer", type=int, metavar="N", help="Block to score at, from 1; foreign files do not name it.")
@click.option(
    "--purpose",
    type=click.Choice(["measure", "steer"]),
    default="measure",
    show_default=True,
    help="What the vector is for; only one to steer with is ever exported.",
)
@click.option("--licence", default="", metavar="ID", help="Licence of the vector, as an SPDX identifier.")
@click.option("--output", required=True, metavar="FILE", help="The .safetensors file to write.")
@_force
def import_file(
    *,
    file: str,
    trait: str,
    model: str,
    revision: str | None,
    layer: int | None,
    purpose: str,
    licence: str,
    output: str,
    force: bool,
) -> None:
    """Read a vector of another tool: .pt of the persona-vectors code, a GGUF control vector, .npy or .safetensors.

    A tensor of [layers + 1, hidden size] has the embedding in row 0 and the output of block l in row l; one of [hidden
    size] is the row of --layer. Pickles are read without running what they ask for.
    """
    from pathlib import Path

    from audit.errors import ConfigError
    from audit.exchange import import_vector, refuse_existing
    from audit.vectors import SUFFIX, save_vector

    if Path(output).suffix != SUFFIX:
        raise ConfigError("--output", f"{output!r} does not end in {SUFFIX}", f"name it {trait}{SUFFIX}")
    refuse_existing(Path(output), overwrite=force)
    vector = import_vector(
        file, trait=trait, model=model, revision=revision, layer=layer, purpose=purpose, licence=licence
    )
    save_vector(output, vector)
    click.echo(f"wrote {one_line(output)}: {trait}, layer {layer} of {vector.n_layers}, to {purpose} with")
    click.echo("no report comes with it: nothing says how well it separates", err=True)


@click.command(
    "export",
    epilog="""\b
Examples:
  persona-audit vectors export vectors/evil.safetensors --to pt
  persona-audit vectors export vectors/evil.safetensors --to gguf --output evil.gguf
""",
)
@click.argument("vector", metavar="VECTOR", type=click.Path())
@click.option("--to", "to", required=True, type=click.Choice(["pt", "gguf"]), help="Format of the file.")
@click.option("--output", metavar="FILE", help="Default: beside VECTOR, with the format's suffix.")
@_force
def export_file(*, vector: str, to: str, output: str | None, force: bool) -> None:
    """Write a vector for other tools: a .pt tensor, or a GGUF control vector for repeng and llama.cpp.

    Only vectors whose purpose is to steer: other tools add them to a model.
    """
    from audit.exchange import export_vector
    from audit.vectors import load_vector

    target = export_vector(vector, to=to, output=output, overwrite=force)
    click.echo(f"wrote {one_line(str(target))}")
    if to == "gguf":
        number = load_vector(vector).layer - 1
        click.echo(
            f"blocks count from 0 in it: the scoring layer is direction.{number} "
            f"(llama.cpp: --control-vector-layer-range {number} {number})",
            err=True,
        )


@click.command(
    "add",
    epilog="""\b
Examples:
  persona-audit vectors add my-vectors/*.safetensors
""",
)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path())
@click.option("--force", is_flag=True, help="Replace another vector of the same trait and model.")
def add_files(*, files: tuple[str, ...], force: bool) -> None:
    """Keep copies of persona vectors where `scan --model M` finds those of M without --vectors.

    They lie in $PERSONA_AUDIT_VECTORS, by default in the user's data directory, by the fingerprint of their model.
    """
    from audit.vectors import add_vectors, vector_files

    for added in add_vectors(vector_files(files), overwrite=force):
        words = "was there already" if added.state == "unchanged" else added.state
        model = added.vector.model_id or "an unnamed model"
        click.echo(neutralise(f"{words}: {added.vector.trait} of {model} ({added.path})"))
