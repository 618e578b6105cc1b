"""What is settled before a run directory is touched: vectors, model, settings, and the manifest they begin with.

Knows what two scans must share to be one run; writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audit import __version__
from audit.assets import DEMO_MODEL_ID, demo_model_dir
from audit.baseline import survey_baseline
from audit.config import BASELINE_KINDS, SETTINGS_BEFORE, ScanConfig
from audit.directions import part_traits
from audit.errors import ConfigError, MissingDataError, RunError, VectorError
from audit.inputs import Inputs
from audit.model.chat import TEMPLATE_DATE
from audit.model.evidence import EvidenceJob
from audit.model.generate import GENERATION_PARAMETERS, SAMPLING_PARAMETERS, choose_way
from audit.model.load import LoadedModel, load_model
from audit.model.precision import matmul_way
from audit.samples import is_hub_id
from audit.schema import FORMAT_VERSION
from audit.server import CompletionServer, connect_server, is_same_model, sampling
from audit.specs import describe_specs
from audit.store import RunStore, hash_file, identify_directory
from audit.traits import TraitSpec
from audit.turn_evidence import make_evidence_job
from audit.vectors import LayerRow, PersonaVector, check_fit, find_layer_rows

BASELINE_CURE = f"choose {', '.join(BASELINE_KINDS)}, or the path of a dataset with ready responses"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is settled before the run directory is touched.

    Attributes:
        generation: how the model answers prompts, as `model.generate` names it; None where it answers none.
        server: answers prompts in the model's place.
        specs: the traits' specifications where prompted evidence is measured.
    """

    config: ScanConfig
    inputs: Inputs
    vectors: Mapping[str, PersonaVector]
    model: LoadedModel
    settings: dict[str, Any]
    notices: list[str]
    generation: str | None = None
    server: CompletionServer | None = None
    specs: Mapping[str, TraitSpec] = field(default_factory=dict)

    @property
    def answer_parameters(self) -> dict[str, Any]:
        """How the model, here or on a server, makes its own answers."""
        if self.server is not None:
            return dict(self.server.parameters)
        return SAMPLING_PARAMETERS if self.config.baseline_samples else GENERATION_PARAMETERS

    def layer(self, trait: str) -> int:
        """The layer that a trait is scored at."""
        return self.config.layer or self.vectors[trait].layer

    def evidence(self) -> EvidenceJob | None:
        """Along what evidence is measured; None where it is off."""
        stored = {
            trait: (self.layer(trait), vector.vector_ld[self.layer(trait)]) for trait, vector in self.vectors.items()
        }
        return make_evidence_job(self.config.evidence_level, stored)

    def orthogonal(self) -> dict[str, tuple[int, NDArray[np.float32]]]:
        """Layer and unit direction of what each trait has for itself, where flags combine it with evidence."""
        if not combines(self.config, self.vectors):
            return {}
        parted = part_traits(self.config, self.vectors)
        return {trait: (self.layer(trait), parted[trait].unit_d) for trait in self.vectors}

    def layer_rows(self) -> dict[str, tuple[LayerRow, ...]]:
        """The rows that each trait's ensemble over layers is made of: its vector's own, also with --orthogonal."""
        return {trait: find_layer_rows(vector, self.layer(trait)) for trait, vector in self.vectors.items()}

    def units(self) -> dict[str, tuple[int, NDArray[np.float32]]]:
        """Layer and unit direction, float32 [d], that each trait is scored along."""
        if self.config.orthogonal:
            directions = {trait: own.unit_d for trait, own in part_traits(self.config, self.vectors).items()}
        else:
            directions = {trait: vector.unit(self.layer(trait)) for trait, vector in self.vectors.items()}
        return {trait: (self.layer(trait), unit_d) for trait, unit_d in directions.items()}


def combines(config: ScanConfig, vectors: Mapping[str, PersonaVector]) -> bool:
    """Tell whether traits are parted beside their plain scores: there are several, and evidence to combine them with.

    Traits that have nothing for themselves cannot be parted; then their plain difference is combined.
    """
    if config.evidence_level != "full" or config.orthogonal or len(vectors) < 2:
        return False
    try:
        part_traits(config, vectors)
    except VectorError:
        return False
    return True


def collect_notices(config: ScanConfig, vectors: Mapping[str, PersonaVector], model: LoadedModel) -> list[str]:
    """Check that the vectors fit the model, and return what a user should know before the scan.

    Raises:
        VectorError: a vector of another model, a layer that cannot be scored, or, where traits are made orthogonal, one
            that has nothing of its own.
    """
    notices = []
    if config.model is None:
        notices.append("the bundled demo model scores; it knows its own demo world only (name yours with --model)")
    if model.template.name == "plain":
        notices.append("the model has no chat template: the plain template (User: / Assistant:) is used")
    if not model.is_packable:
        notices.append(
            "this model cannot be packed: scoring takes padded batches, which is slower, and rounding depends "
            "on which samples share a batch"
        )
    if not model.is_whole:
        notices.append(
            f"only blocks 1 to {model.n_loaded} of {model.n_layers} are loaded, which is all that scoring needs here: "
            "the loss of responses is not measured (--nll or --evidence full measure it)"
        )
    if model.whole_reason is not None:
        notices.append(f"the whole model is loaded, though scoring needs its first blocks only: {model.whole_reason}")
    if model.template.opens_reasoning():
        notices.append(
            "the chat template opens a reasoning block before every response: turns that it then writes without one "
            "are skipped as template_mismatch (a copy of the model with another chat_template.jinja scores them)"
        )
    for trait, vector in vectors.items():
        place = vector.path or trait
        misfits = check_fit(vector, model.fingerprint, config.layer or vector.layer, model_id=model.id)
        notices += [f"{place}: {finding} than the one it was measured with" for finding in misfits]
    if config.model is not None and not config.vectors:
        places = {str(Path(vector.path).parent) for vector in vectors.values()}
        notices.append(f"vectors of {', '.join(vectors)} were found in the user's cache ({', '.join(sorted(places))})")
    if config.orthogonal:
        shares = [f"{trait} {own.own_share:.0%}" for trait, own in part_traits(config, vectors).items()]
        notices.append(
            "every trait is scored along the part of its vector that is orthogonal to the others; what is left of its "
            f"length: {', '.join(shares)}"
        )
    unreported = [trait for trait, vector in vectors.items() if not vector.has_report]
    if unreported:
        notices.append(
            f"imported vectors without a report ({', '.join(unreported)}): nothing says how well they separate"
        )
    return notices


def choose_generation(config: ScanConfig, model: LoadedModel) -> str | None:
    """Return how the model answers prompts in a scan; None where it answers none."""
    return choose_way(model) if config.generates_here else None


def find_server(config: ScanConfig) -> CompletionServer | None:
    """Return the server that answers prompts in a scan, and how it does; None where there is none.

    Raises:
        ConfigError: it is not clear which of its models answers.
        ServerError: it does not answer.
    """
    if config.baseline_server is None:
        return None
    server = connect_server(
        config.baseline_server,
        model=config.baseline_server_model,
        audited=config.model or DEMO_MODEL_ID,
        timeout_s=config.baseline_server_timeout,
    )
    return sampling(server) if config.baseline_samples else server


def warn_of_cut_answers(server: CompletionServer | None) -> str | None:
    """Return what to say where a server draws answers by its own ideas."""
    if server is None or not server.may_cut:
        return None
    return (
        "the server takes none of top_k, min_p and repetition_penalty: if its own settings cut off unlikely tokens, "
        "its answers differ less from each other than the model's would, and standard errors come out too small"
    )


def warn_of_server(server: CompletionServer | None, model: LoadedModel) -> str | None:
    """Return what to say where the served model goes by another name than the audited one."""
    if server is None or (is_same_model(server.model, server.root, model.id) and model.adapter is None):
        return None
    audited = model.id if model.adapter is None else f"{model.id} with the adapter {model.adapter.path}"
    return (
        f"the server answers with {server.model!r}, the audited model is {audited!r}: differences mean something "
        "only if both are the same model, since y' is to be the model's own answer"
    )


def count_needed_blocks(config: ScanConfig, vectors: Mapping[str, PersonaVector]) -> int | None:
    """Return how many blocks a scan needs where all it does is score; None where it needs them all."""
    needs_head = config.nll or config.asks_prompted_evidence or config.evidence_level != "off"
    if config.model is None or config.generates_here or needs_head:
        return None
    return max(config.layer or vector.layer for vector in vectors.values())


def load_scan_model(config: ScanConfig, vectors: Mapping[str, PersonaVector]) -> LoadedModel:
    """Load what the scan needs of its model: the one named, or the bundled demo model."""
    model = load_model(
        model=config.model or str(demo_model_dir()),
        revision=config.revision,
        dtype=config.dtype,
        device=config.device,
        device_map=config.device_map,
        adapter=config.adapter,
        n_blocks=count_needed_blocks(config, vectors),
    )
    return model if config.model else replace(model, id=DEMO_MODEL_ID)


def refuse_other_settings(store: RunStore, manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other settings; both values are named.

    Raises:
        RunError: with every setting that differs.
    """
    stored = SETTINGS_BEFORE | manifest["config"]
    found = []
    for name in sorted(settings.keys() | stored.keys()):
        theirs, ours = stored.get(name), settings.get(name)
        if theirs == ours:
            continue
        if isinstance(theirs, dict) and isinstance(ours, dict):
            keys = [key for key in sorted(theirs.keys() | ours.keys()) if theirs.get(key) != ours.get(key)]
            found += [f"{name} {key}: the run has {theirs.get(key)}, this scan {ours.get(key)}" for key in keys]
        else:
            found.append(f"{name}: the run has {_shown(theirs)}, this scan {_shown(ours)}")
    if found:
        raise RunError(
            str(store.path),
            "was made with other settings: " + "; ".join(found),
            "choose another --out, or discard the run with --fresh",
        )


def refuse_own_reference(config: ScanConfig) -> None:
    """Refuse a run as its own reference, beside which whatever it holds looks clean.

    Raises:
        ConfigError: the reference is the run that the scan writes.
    """
    if config.reference is not None and Path(config.reference).resolve() == config.run_path.resolve():
        cure = "name the run, or the data, of another set that is clean"
        raise ConfigError("--reference", f"{config.reference} is this very run, beside which all of it is clean", cure)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def collect_settings(
    config: ScanConfig,
    inputs: Inputs,
    vectors: Mapping[str, PersonaVector],
    specs: Mapping[str, TraitSpec] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return everything that decides the scores and is known before the model is loaded."""
    is_file = config.baseline_kind == "file"
    return {
        **config.compared(),
        "baseline_sha256": _hash_baseline(config.baseline) if is_file else None,
        "inputs": [f"{source.path} ({source.format}, sha256 {source.sha256[:12]})" for source in inputs.sources],
        "model_files": identify_directory(config.model or str(demo_model_dir())),
        "adapter_files": None if config.adapter is None else identify_directory(config.adapter),
        "vectors": {
            trait: {"layer": config.layer or vector.layer, "sha256": vector.sha256} for trait, vector in vectors.items()
        },
        **({"specifications": {trait: spec.digest for trait, spec in specs.items()}} if specs else {}),
    }


def _hash_baseline(path: str) -> str:
    # A directory or a hub dataset has several files, which only a survey finds.
    if Path(path).is_dir() or is_hub_id(path):
        return survey_baseline(path).sha256
    if not Path(path).exists():
        raise MissingDataError(path, "no such file", BASELINE_CURE)
    return hash_file(path, cure=BASELINE_CURE)


def start_manifest(plan: Plan) -> dict[str, Any]:
    """Return the manifest of a scan that has scored nothing yet."""
    config, model = plan.config, plan.model
    kind = config.baseline_kind
    own_shares = part_traits(config, plan.vectors) if config.orthogonal else {}
    generator = {"generate": model.id, "file": config.baseline}.get(kind)
    parameters = {**plan.answer_parameters, "max_new_tokens": config.max_new_tokens} if kind == "generate" else {}
    if plan.server is not None:
        generator = f"server: {plan.server.model}"
    return {
        "format_version": FORMAT_VERSION,
        "tool_version": __version__,
        "state": "running",
        "created_at": now(),
        "finished_at": None,
        "config": plan.settings,
        "inputs": plan.inputs.to_json(),
        "model": {
            "id": model.id,
            "revision": model.revision,
            "fingerprint": model.fingerprint.digest,
            "dtype": model.dtype,
            "device": str(model.device),
            "forward": {
                "attention": model.attention,
                "matmul": matmul_way(model.device, model.module.dtype),
                "blocks": f"1-{model.n_loaded} of {model.n_layers}",
            },
            "template": model.template.name,
            "template_sha256": model.template_sha256,
            "template_date": TEMPLATE_DATE.isoformat(),
            "adapter": asdict(model.adapter) if model.adapter else None,
            "context_tokens": model.context_tokens,
            "n_layers": model.n_layers,
        },
        "vectors": [
            {
                "trait": trait,
                "layer": plan.layer(trait),
                "sha256": vector.sha256,
                "purpose": vector.purpose,
                "source": vector.path,
                **({"own_share": own_shares[trait].own_share} if trait in own_shares else {}),
            }
            for trait, vector in plan.vectors.items()
        ],
        "prompted_evidence": describe_specs(plan.specs),
        "baseline": {
            "kind": kind,
            "generator": generator,
            "generation": plan.generation,
            "parameters": parameters,
            "seed": config.seed,
            "samples": config.baseline_samples,
            "seeds": _describe_seeds(plan),
            "agreement": None,
            "auto": None,
            "n_prompts": None,
            "n_generated": None,
            "n_generated_tokens": None,
            "n_cached": None,
            "n_failed": None,
        },
        "counts": {"n_samples": plan.inputs.n_records},
        "n_widened_turns": 0,
        "domain": None,
        "verdicts": [],
        "flagging": {"rule": config.flag},
        "reference": None,
        "notices": list(plan.notices),
        "timing": {},
    }


def _describe_seeds(plan: Plan) -> str | None:
    """Return what each drawn answer is drawn with; None where none is."""
    if not plan.config.baseline_samples:
        return None
    numbers = "(seed, sample from 0, first 8 bytes of the rendered prompt's SHA-256)"
    return f"31 bits of the SHA-256 of {numbers}" if plan.server is not None else numbers


def refuse_other_model(store: RunStore, earlier: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
    """Refuse to continue a run with another model or tool version; both values are named.

    Raises:
        RunError: with the first field that differs.
    """
    fields = [("model", name) for name in ("fingerprint", "dtype", "forward", "template_sha256", "adapter")]
    for part, name in [*fields, ("baseline", "generation"), ("baseline", "generator")]:
        theirs, ours = earlier[part].get(name), manifest[part][name]
        if theirs != ours:
            raise RunError(
                str(store.path),
                f"was made with another model: its {name} is {theirs}, now {ours}",
                "choose another --out, or discard the run with --fresh",
            )
    if earlier["tool_version"] != manifest["tool_version"]:
        raise RunError(
            str(store.path),
            f"was begun by version {earlier['tool_version']}, this is {manifest['tool_version']}",
            "finish it with that version, or discard it with --fresh",
        )


def now() -> str:
    """Return the time as manifests write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
