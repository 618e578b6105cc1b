"""`persona-audit vectors extract`: from a trait in words to a vector that can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audit.cli.options import json_option, model_options
from audit.cli.text import one_line, split_names
from audit.errors import ConfigError

if TYPE_CHECKING:
    from audit.extract import Extraction
    from audit.traits import TraitSpec


@click.command(
    "extract",
    epilog="""\b
Examples:
  persona-audit vectors extract
  persona-audit vectors extract --model Qwen/Qwen2.5-7B-Instruct --trait evil --judge-server http://localhost:8000/v1
  persona-audit vectors extract --model ./my-model --trait my-trait.toml --output-dir vectors/
""",
)
@click.option(
    "--trait",
    "trait_names",
    multiple=True,
    metavar="NAME_OR_FILE",
    help="A trait that `traits list` shows, or a specification of your own. Can be repeated. Default: for the demo "
    "model its four.",
)
@model_options
@click.option(
    "--output-dir",
    default="vectors",
    show_default=True,
    metavar="DIR",
    type=click.Path(),
    help="Where <trait>.safetensors are written, and the answers while they come (rollouts.sqlite).",
)
@click.option(
    "--judge",
    metavar="KIND",
    help="Who says which answers show the trait: server; self (the model itself, which is weak); demo; none. Default: "
    "server where one is named, demo for the demo model, else self.",
)
@click.option("--judge-server", metavar="URL", help="OpenAI-compatible server of a judge.")
@click.option("--judge-model", metavar="NAME", help="The judge's name on that server.")
@click.option(
    "--rollouts",
    type=int,
    default=10,
    show_default=True,
    metavar="N",
    help="Answers to each extraction question under each system prompt.",
)
@click.option(
    "--evaluation-rollouts",
    type=int,
    default=2,
    show_default=True,
    metavar="N",
    help="The same for evaluation questions, on which the vector is tried.",
)
@click.option(
    "--layer-by",
    type=click.Choice(["separation", "steering"]),
    default="separation",
    show_default=True,
    help="What chooses the scoring layer: how well held-out answers separate there, or how much steering there raises "
    "the trait.",
)
@click.option("--no-steering", is_flag=True, help="Do not measure what adding the vector does to answers.")
@click.option(
    "--purpose",
    type=click.Choice(["measure", "steer"]),
    default="measure",
    show_default=True,
    help="Vectors to measure with cannot be exported to tools that steer.",
)
@click.option("--temperature", type=float, default=1.0, show_default=True, metavar="T", help="Of the answers.")
@click.option("--max-new-tokens", type=int, default=256, show_default=True, metavar="N", help="Longest answer.")
@click.option(
    "--batch-tokens", type=int, default=8192, show_default=True, metavar="N", help="Most tokens in a forward pass."
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of everything random.")
@click.option("--force", is_flag=True, help="Replace vectors of another extraction in the output directory.")
@json_option
@click.option("--quiet", is_flag=True, help="No progress and no notices.")
def extract_command(
    *,
    trait_names: tuple[str, ...],
    output_dir: str,
    judge: str | None,
    judge_server: str | None,
    judge_model: str | None,
    as_json: bool,
    quiet: bool,
    model: str | None,
    revision: str | None,
    adapter: str | None,
    dtype: str,
    device: str,
    device_map: str | None,
    **settings: Any,
) -> None:
    """Extract persona vectors of a model from trait specifications.

    The model answers each trait's questions under system prompts for it and against it; a judge keeps the pairs that
    show the difference; the vector is the difference of mean activations. It is tried on other questions, beside what
    chance would give. A killed extraction goes on where it stopped when the same command is given again.
    """
    from audit.assets import DEMO_MODEL_ID, demo_model_dir
    from audit.cli.progress import listening

    specs = _resolve_specs(split_names(trait_names), is_demo=model is None)
    config = _make_config(Path(output_dir), settings)

    from dataclasses import replace

    from audit.events import Noted, StageFinished, StageStarted, Warned
    from audit.extract import extract_vectors
    from audit.judges import make_judge
    from audit.model.load import load_model
    from audit.traits import check_spec

    kind = judge or ("server" if judge_server else "demo" if model is None else "self")
    demo = _demo_judge() if model is None else None
    # What is wrong with a judge is found before a large model is loaded.
    is_self = kind == "self" and judge_server is None and judge_model is None
    asked = None if is_self else make_judge(kind, url=judge_server, server_model=judge_model, demo=demo)
    with listening(is_quiet=quiet) as listener:
        for spec in specs:
            # Such as a question that is asked twice: what is tried would have been seen.
            for finding in check_spec(spec):
                listener(Warned(f"{spec.name}: {finding.text}"))
        listener(StageStarted("loading the model", None, ""))
        loaded = load_model(
            model=model or str(demo_model_dir()),
            revision=revision,
            dtype=dtype,
            device=device,
            device_map=device_map,
            adapter=adapter,
        )
        loaded = loaded if model else replace(loaded, id=DEMO_MODEL_ID)
        listener(StageFinished("loading the model"))
        chosen = asked or make_judge(kind, model=loaded, batch_tokens=config.sampling.batch_tokens)
        listener(Noted(f"judge: {chosen.name}" + (f" ({chosen.weakness})" if chosen.weakness else "")))
        found = extract_vectors(loaded, specs, chosen, config, listener=listener)
    if as_json:
        import json

        click.echo(json.dumps([_describe(own) for own in found], indent=1))
    else:
        _print_table(found)
        place = one_line(output_dir)
        of_model = f" --model {one_line(model)}" if model else ""
        click.echo(f"next: persona-audit scan DATASET{of_model} --vectors {place}")


def _resolve_specs(names: list[str] | tuple[str, ...], *, is_demo: bool) -> list[TraitSpec]:
    from audit.traits import check_spec, find_specs, resolve_spec

    if not names:
        if not is_demo:
            cure = "name one with --trait; `persona-audit traits list` shows those that come with the program"
            raise ConfigError("--trait", "no trait is named", cure)
        names = [found.name for found in find_specs() if found.source == "demo"]
    specs = [resolve_spec(name, is_demo_model=is_demo) for name in names]
    for spec in specs:
        errors = [finding.text for finding in check_spec(spec) if finding.severity == "error"]
        if errors:
            from audit.errors import TraitError

            raise TraitError(spec.name, "; ".join(errors), "mend it; `persona-audit traits check` shows all findings")
    return specs


def _make_config(output_dir: Path, settings: dict[str, Any]) -> Any:
    from audit.extract import ExtractConfig, Sampling

    return ExtractConfig(
        output_dir=output_dir,
        n_rollouts=settings["rollouts"],
        n_evaluation=settings["evaluation_rollouts"],
        sampling=Sampling(
            seed=settings["seed"],
            temperature=settings["temperature"],
            max_new_tokens=settings["max_new_tokens"],
            batch_tokens=settings["batch_tokens"],
        ),
        layer_by=settings["layer_by"],
        has_steering=not settings["no_steering"],
        purpose=settings["purpose"],
        overwrite=settings["force"],
    )


def _demo_judge() -> Any:
    from audit.demo.exact_judge import DemoJudge

    return DemoJudge()


def _describe(own: Extraction) -> dict[str, Any]:
    return {
        "trait": own.vector.trait,
        "path": str(own.path),
        "layer": own.vector.layer,
        "n_layers": own.vector.n_layers,
        "sha256": own.vector.sha256,
        "is_above_chance": own.separation.is_above_chance,
        "details": own.vector.details,
    }


def _print_table(found: list[Extraction]) -> None:
    from audit.cli.table_view import render_rows

    names = ("trait", "layer", "auc", "95 % interval", "null band", "stability", "pairs kept", "rate at +2", "file")
    rows = []
    for own in found:
        separation, kept = own.separation, own.measured.found
        rates = {point.alpha: point.rate for point in own.measured.curve}
        steered = f"{rates[0.0]:.2f} → {rates[2.0]:.2f}" if {0.0, 2.0} <= rates.keys() else ""
        rows.append(
            (
                own.vector.trait,
                f"{own.vector.layer} of {own.vector.n_layers}",
                f"{separation.auc:.3f}",
                f"{separation.low:.3f} to {separation.high:.3f}",
                f"{separation.null_band:.3f}",
                f"{own.measured.trust.half_cosine_l[own.vector.layer]:.3f}",
                f"{kept.n_kept} of {kept.n_pairs}",
                steered,
                str(own.path),
            )
        )
    click.echo(render_rows(names, rows, cell_chars=None), nl=False)
    click.echo("\nauc: of answers to evaluation questions, read without the system prompt that drew them out;")
    click.echo("stability: cosine of two halves' vectors; `persona-audit vectors show` has all of it, layer by layer.")
