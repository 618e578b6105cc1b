"""The job of extraction: answers under contrasting prompts → judged → differences → layer → report → vector files.

A killed job goes on where it stopped: answers and judgements lie on a sheet beside the vectors.

Source: arXiv 2507.21509, section 2 (pipeline and filter) and appendix A. Departures: the layer is chosen by separation
of answers to evaluation questions unless steering is asked for, and every vector carries what chance would give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from audit.errors import ConfigError, VectorError
from audit.events import Listener, Noted, Warned, ignore_events
from audit.extract.asking import Asker, Sampling
from audit.extract.rollouts import plan_neutral
from audit.extract.sheet import opened_sheet
from audit.extract.statistics import Separation, cosine
from audit.extract.trait import Measured, TraitJob, read_states
from audit.extract.trust import CHECK_SEED
from audit.model.load import LoadedModel
from audit.traits import Judge, TraitSpec
from audit.vectors import PURPOSES, SUFFIX, PersonaVector, collect_details, load_vector, save_vector

RECIPE = "persona-audit vectors extract"
SHEET_FILE = "rollouts.sqlite"
LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-4, 100.0
"""Below, logits that are divided by it leave the numbers that there are; above, nothing of the model is left."""


@dataclass(frozen=True, slots=True)
class ExtractConfig:
    """How vectors are extracted.

    Attributes:
        output_dir: of `<trait>.safetensors` and the sheet of rollouts.
        n_rollouts: answers to every extraction question under every prompt.
        n_evaluation: answers to every evaluation question under every prompt; the vector is not made of them.
        layer_by: `separation` of answers to evaluation questions, or `steering` (an answer to each of them at every
            layer).
        has_steering: also measure what the vector does to answers, at every layer and by its multiples at the chosen
            one; the layer is not chosen by steering without it.
        overwrite: replace vectors that were extracted otherwise.
    """

    output_dir: Path
    n_rollouts: int = 10
    n_evaluation: int = 2
    sampling: Sampling = field(default_factory=Sampling)
    layer_by: Literal["separation", "steering"] = "separation"
    has_steering: bool = True
    purpose: str = "measure"
    overwrite: bool = False

    def __post_init__(self) -> None:
        sampling = self.sampling
        for option, value, least in (
            ("--rollouts", self.n_rollouts, 1),
            ("--evaluation-rollouts", self.n_evaluation, 1),
            ("--max-new-tokens", sampling.max_new_tokens, 1),
            ("--batch-tokens", sampling.batch_tokens, 1),
            ("--seed", sampling.seed, 0),
        ):
            if value < least:
                raise ConfigError(option, f"must be at least {least}")
        if not LEAST_TEMPERATURE <= sampling.temperature <= MOST_TEMPERATURE:
            finding = f"must be from {LEAST_TEMPERATURE:g} to {MOST_TEMPERATURE:g}"
            raise ConfigError("--temperature", finding, "a small number such as 0.1 is nearly greedy")
        if self.purpose not in PURPOSES:
            raise ConfigError("--purpose", f"{self.purpose!r} is not known", f"choose one of {', '.join(PURPOSES)}")


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """A vector as it was saved, and how it came about."""

    path: Path
    vector: PersonaVector
    measured: Measured

    @property
    def separation(self) -> Separation:
        """Of held-out answers, at the scoring layer."""
        return self.measured.trust.layers[self.vector.layer]


def extract_vectors(
    model: LoadedModel,
    specs: Sequence[TraitSpec],
    judge: Judge,
    config: ExtractConfig,
    *,
    listener: Listener = ignore_events,
) -> list[Extraction]:
    """Extract the vectors of traits from a model and write one file each.

    Args:
        judge: says which answers show a trait; with one that is named `none` the side of the system prompt decides
            alone.

    Raises:
        TraitError: no answer of a trait survives the filter, or too few for halves of the questions.
        VectorError: the output directory holds a vector of another extraction.
        AuditError: the model or the judge cannot be asked. Answers that were made are kept in any case.
    """
    targets = {spec.name: config.output_dir / f"{spec.name}{SUFFIX}" for spec in specs}
    if len(targets) < len(specs):
        raise ConfigError("--trait", "one trait is named twice", "name each once")
    if config.layer_by == "steering" and (judge.name == "none" or not config.has_steering):
        raise ConfigError("--layer-by steering", "needs a judge who says what steering does", "name one with --judge")
    recipes = {spec.name: _describe_recipe(model, spec, judge, config) for spec in specs}
    for spec in specs:
        _refuse_other(targets[spec.name], recipes[spec.name], config)
    sheet_path = config.output_dir / SHEET_FILE
    found: list[Extraction] = []
    with opened_sheet(sheet_path) as sheet:
        asker = Asker(model, sheet, config.sampling, listener)
        if not asker.has_system:
            listener(Noted("the chat template takes no system prompt: it is put before the question"))
        neutral = plan_neutral(specs)
        answers = asker.answer("answering without a system prompt", neutral)
        state_nld, own_n = read_states(asker, "reading neutral answers", neutral, answers, listener)
        own = [rollout.text for rollout, is_read in zip(neutral, own_n, strict=True) if is_read]
        states = dict(zip(own, state_nld, strict=True))
        for spec in specs:
            measured = TraitJob(
                asker,
                spec,
                judge,
                n_rollouts=config.n_rollouts,
                n_evaluation=config.n_evaluation,
                layer_by=config.layer_by,
                has_steering=config.has_steering,
                listener=listener,
            ).run(states, str(sheet_path))
            vector = _make_vector(model, spec, judge, measured, recipes[spec.name], config)
            found.append(_save(targets[spec.name], vector, measured))
            for warning in measured.warnings:
                listener(Warned(warning))
    return _add_cosines(found)


def _describe_recipe(model: LoadedModel, spec: TraitSpec, judge: Judge, config: ExtractConfig) -> dict[str, Any]:
    """Return everything that decides a vector, as JSON values."""
    sampling = config.sampling
    return {
        "spec_sha256": spec.digest,
        "model": model.fingerprint.digest,
        "adapter": model.adapter.sha256 if model.adapter else None,
        "dtype": model.dtype,
        "judge": judge.identity,
        "n_rollouts": config.n_rollouts,
        "n_evaluation": config.n_evaluation,
        "seed": sampling.seed,
        "temperature": sampling.temperature,
        "max_new_tokens": sampling.max_new_tokens,
        "layer_by": config.layer_by,
    }


def _refuse_other(target: Path, recipe: Mapping[str, Any], config: ExtractConfig) -> None:
    if not target.exists() or config.overwrite:
        return
    try:
        earlier = load_vector(target).details.get("recipe")
    except VectorError:
        earlier = None
    if earlier != json.loads(json.dumps(recipe)):
        raise VectorError(
            str(target), "is a vector of another extraction", "choose another --output-dir, or replace it with --force"
        )


def _make_vector(
    model: LoadedModel,
    spec: TraitSpec,
    judge: Judge,
    measured: Measured,
    recipe: Mapping[str, Any],
    config: ExtractConfig,
) -> PersonaVector:
    separation = measured.trust.layers[measured.layer]
    details = collect_details(
        specification=spec.digest,
        revision=model.revision,
        seeds={"sampling": config.sampling.seed, "check": CHECK_SEED},
        yields={"extraction": measured.found.to_json(), "evaluation": measured.held_out.to_json()},
        licence=spec.licence,
        description=spec.description,
        recipe=dict(recipe),
        template_sha256=model.template_sha256,
        judge=judge.name,
        judge_weakness=judge.weakness,
        auc=_rounded(separation.auc),
        auc_interval=[_rounded(separation.low), _rounded(separation.high)],
        null_band=_rounded(separation.null_band),
        split_half_cosine=_rounded(float(measured.trust.half_cosine_l[measured.layer])),
        neutral_mean=_rounded(measured.neutral_mean),
        neutral_sd=_rounded(measured.neutral_sd),
        positive_lie_higher=measured.has_sign,
        steering=[point.to_json() for point in measured.curve],
    )
    return PersonaVector(
        trait=spec.name,
        vector_ld=measured.vector_ld,
        layer=measured.layer,
        model_id=model.id,
        fingerprint=model.fingerprint,
        purpose=config.purpose,
        recipe=RECIPE,
        details=details,
    )


def _save(path: Path, vector: PersonaVector, measured: Measured) -> Extraction:
    report = {
        **measured.trust.to_report(),
        **measured.check,
        "prompt_vector_ld": measured.prompt_ld,
        "last_prompt_vector_ld": measured.last_prompt_ld,
    }
    if measured.by_layer:
        for name in ("rate", "score"):
            values_l = np.full(len(measured.vector_ld), np.nan, dtype=np.float32)
            for point in measured.by_layer:
                values_l[point.layer] = getattr(point, name)
            report[f"steered_{name}_l"] = values_l
    save_vector(path, vector, report)
    return Extraction(path, load_vector(path), measured)


def _add_cosines(found: Sequence[Extraction]) -> list[Extraction]:
    """Write into every file the cosines with the other vectors, each pair at the layer of the file's own vector."""
    done = []
    for own in found:
        layer = own.vector.layer
        cosines = {
            other.vector.trait: _rounded(cosine(own.vector.vector_ld[layer], other.vector.vector_ld[layer]))
            for other in found
            if other is not own
        }
        vector = replace(own.vector, details={**own.vector.details, "cosines": cosines}, sha256="", path="")
        done.append(_save(own.path, vector, own.measured) if cosines else own)
    return done


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
