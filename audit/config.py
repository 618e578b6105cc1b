"""The settings of a scan: frozen, checked when made, saved with the run, comparable with an earlier run's.

Knows which values can work together; does not open a file or a model.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit.errors import ConfigError
from audit.rules import parse_rule
from audit.schema import FIELD_ROLES, FORMATS, is_fixed_column, is_trait_name

MAX_SHARD_ROWS = 1000
BASELINE_KINDS = ("auto", "generate", "prompt", "none")
GENERATED_BASELINES = ("auto", "generate")
"""Kinds for which whole answers are generated, here or by a server."""

MAX_BASELINE_SAMPLES = 64
"""What more would tell is little: the standard error falls with the root of their number."""

EVIDENCE_LEVELS = ("off", "score", "full")
PROMPTED_EVIDENCE = "prompt"

DTYPES = ("auto", "float32", "bfloat16", "float16")

SETTINGS_BEFORE = {"orthogonal": False, "evidence": "off", "baseline_samples": 0}
"""What runs that lack a setting were made with: it came later."""

# These do not change a score, so they may differ when a run continues. Datasets are compared by content.
_NOT_COMPARED = frozenset(
    {
        "out",
        "fresh",
        "datasets",
        "strict",
        "reference",
        "flag",
        "no_cache",
        # How a server is asked; where it stands is no more compared than that, see `compared`.
        "baseline_server_concurrency",
        "baseline_server_timeout",
    }
)
_PATHS = ("out", "model", "adapter", "baseline", "reference")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanConfig:
    """Everything that decides the scores of a scan.

    Attributes:
        datasets: files to read, in order; sample ids run over all of them.
        out: the run directory; None: `<stem of the first dataset>.audit` in the working directory.
        model: path or hub id of a causal language model; None: the bundled demo model.
        vectors: persona vector files or directories of them; empty: the model's own from the user's vector cache, or
            the bundled ones of the demo model.
        traits: restrict to these traits; empty: every trait that the vectors offer.
        orthogonal: score each trait along the part of its vector that is orthogonal to those of the other traits.
        evidence: `full` measures what each response would teach, with its null variance; `score` without the variance
            of single turns; `off` keeps to the blocks up to the scoring layer. `prompt`, alone or behind one of them
            and a comma, adds the likelihood ratio between the traits' system prompts.
        layer: score at this decoder block (from 1) instead of the layer stored with each vector.
        format: record family, one of `schema.FORMATS`; None: detected over the first rows.
        split: of a hub dataset or a `save_to_disk` directory with several.
        messages_key, prompt_key, response_key, chosen_key, rejected_key, system_key, text_key: the field that plays
            this role in the records, where it has another name than the family's own.
        turns: score `all` assistant turns or the `last` one of each record.
        baseline: `generate`; `auto`, which generates where it can change a flag and predicts elsewhere, from 5,000
            distinct prompts on; `prompt`; `none`; or the path of a dataset with ready baseline responses.
        baseline_by: match a baseline file by rendered `prompt` or by `position`.
        baseline_samples: 0: one greedy answer; K from 2 to 64: the mean over K answers that are drawn at temperature 1
            and top-p 1, with a standard error. One drawn answer would carry noise and not tell how much: refused.
        baseline_server: URL of an OpenAI-compatible server that generates the baselines; None: generated here.
        baseline_server_model: the model's name on that server; None: its only one, or the one named like `model`.
        baseline_server_concurrency: requests that are under way at once.
        baseline_server_timeout: seconds that one answer may take.
        max_new_tokens: longest generated baseline, in tokens.
        max_tokens: longest prompt plus response, in tokens; None: the model's context.
        shard_rows: most rows in a part, 1 to 1,000.
        batch_tokens: most padded tokens in one forward pass.
        nll: measure the loss of every response, not only of the probe.
        keep_columns: scalar fields of the records that are carried into `samples`.
        reference: clean data that scores are held against: a finished run of it, or a dataset to be scanned first.
        flag: the rule that flags records: `quantile:PERCENT`, `fdr:SHARE`, `top-k:NUMBER` or `absolute:SCORE`.
        no_cache: neither use nor fill the cache of generated baselines.
        strict: stop at the first record that cannot be read.
        fresh: discard what an earlier scan left in the run directory.

    Raises:
        ConfigError: a value out of range, or options that exclude each other.
    """

    datasets: tuple[str, ...]
    out: str | None = None
    model: str | None = None
    revision: str | None = None
    adapter: str | None = None
    vectors: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    orthogonal: bool = False
    evidence: str = "full"
    layer: int | None = None
    format: str | None = None
    split: str | None = None
    messages_key: str | None = None
    prompt_key: str | None = None
    response_key: str | None = None
    chosen_key: str | None = None
    rejected_key: str | None = None
    system_key: str | None = None
    text_key: str | None = None
    turns: str = "all"
    baseline: str = "auto"
    baseline_by: str = "prompt"
    baseline_samples: int = 0
    baseline_server: str | None = None
    baseline_server_model: str | None = None
    baseline_server_concurrency: int = 16
    baseline_server_timeout: float = 300.0
    max_new_tokens: int = 256
    max_tokens: int | None = None
    shard_rows: int = MAX_SHARD_ROWS
    batch_tokens: int = 8192
    seed: int = 0
    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    nll: bool = False
    limit: int | None = None
    keep_columns: tuple[str, ...] = ()
    reference: str | None = None
    flag: str = "fdr:0.05"
    no_cache: bool = False
    strict: bool = False
    fresh: bool = False

    def __post_init__(self) -> None:
        self._accept_paths()
        if not self.datasets:
            raise ConfigError("DATASET", "no dataset given", "name at least one file")
        _check_choice("--format", self.format, FORMATS)
        _check_choice("--turns", self.turns, ("all", "last"))
        _check_choice("--baseline-by", self.baseline_by, ("prompt", "position"))
        _check_choice("--dtype", self.dtype, DTYPES)
        self._check_evidence()
        object.__setattr__(self, "flag", str(parse_rule(self.flag)))
        _check_at_least("--layer", self.layer, 1)
        _check_at_least("--max-new-tokens", self.max_new_tokens, 1)
        _check_at_least("--max-tokens", self.max_tokens, 2)
        _check_at_least("--batch-tokens", self.batch_tokens, 1)
        _check_at_least("--limit", self.limit, 1)
        _check_at_least("--seed", self.seed, 0)
        self._check_server()
        self._check_samples()
        if not 1 <= self.shard_rows <= MAX_SHARD_ROWS:
            raise ConfigError("--shard-rows", f"{self.shard_rows} is out of range", f"choose 1 to {MAX_SHARD_ROWS}")
        for trait in self.traits:
            if not is_trait_name(trait):
                raise ConfigError("--traits", f"{trait!r} is no trait name", "use lower-case letters, digits and _")
        for column in self.keep_columns:
            if not re.fullmatch(r"[^\x00-\x1f\"]+", column):
                raise ConfigError("--keep-columns", f"{column!r} is no field name", "name a field of the records")
            if is_fixed_column(column.casefold()):
                raise ConfigError("--keep-columns", f"{column!r} is a column of the run already", "rename the field")
        if len({column.casefold() for column in self.keep_columns}) < len(self.keep_columns):
            raise ConfigError("--keep-columns", "a field is named twice", "name each field once (SQL ignores case)")
        if self.model is None and self.revision is not None:
            raise ConfigError("--revision", "the demo model has no revisions", "name the model with --model")

    def _check_evidence(self) -> None:
        parts = [part.strip() for part in self.evidence.split(",")]
        levels = [part for part in parts if part in EVIDENCE_LEVELS]
        if set(parts) - {*EVIDENCE_LEVELS, PROMPTED_EVIDENCE} or len(levels) > 1 or len(set(parts)) < len(parts):
            finding = f"{self.evidence!r} is not known"
            raise ConfigError("--evidence", finding, "choose off, score, full, prompt, score,prompt or full,prompt")
        # One way to write it, so that runs compare.
        ordered = [*(level for level in levels if level != "off"), *([PROMPTED_EVIDENCE] if "prompt" in parts else [])]
        object.__setattr__(self, "evidence", ",".join(ordered) or "off")

    def _check_server(self) -> None:
        _check_at_least("--baseline-server-concurrency", self.baseline_server_concurrency, 1)
        if not 0 < self.baseline_server_timeout < float("inf"):
            finding = f"{self.baseline_server_timeout} is out of range"
            raise ConfigError("--baseline-server-timeout", finding, "choose seconds, such as 300")
        if self.baseline_server is not None and self.baseline not in GENERATED_BASELINES:
            finding = f"nothing is generated with --baseline {self.baseline}"
            raise ConfigError("--baseline-server", finding, f"use --baseline {' or '.join(GENERATED_BASELINES)}")
        if self.baseline_server is None and self.baseline_server_model is not None:
            raise ConfigError("--baseline-server-model", "there is no server", "name it with --baseline-server URL")

    def _check_samples(self) -> None:
        n, option = self.baseline_samples, "--baseline-samples"
        if n == 1:
            finding = "one drawn answer carries chance, and nothing tells how much"
            raise ConfigError(option, finding, "choose 2 or more, or 0 for one greedy answer")
        if not 0 <= n <= MAX_BASELINE_SAMPLES:
            raise ConfigError(option, f"{n} is out of range", f"choose 0, or 2 to {MAX_BASELINE_SAMPLES}")
        if n and self.baseline not in GENERATED_BASELINES:
            finding = f"nothing is generated with --baseline {self.baseline}"
            raise ConfigError(option, finding, f"use --baseline {' or '.join(GENERATED_BASELINES)}, or leave it out")

    def _accept_paths(self) -> None:
        for name in ("datasets", "vectors"):
            value = getattr(self, name)
            if isinstance(value, str | os.PathLike):
                raise ConfigError(name, "is one path, not a tuple of them", f"write {name}=({os.fspath(value)!r},)")
            object.__setattr__(self, name, tuple(os.fspath(path) for path in value))
        for name in _PATHS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, os.fspath(value))

    @property
    def run_path(self) -> Path:
        """The directory that the scan writes."""
        if self.out is not None:
            return Path(self.out)
        return Path(f"{dataset_stem(self.datasets[0])}.audit")

    @property
    def baseline_kind(self) -> str:
        """What baselines are: `generate`, whether for all prompts or some; `prompt`, `none` or `file`."""
        if self.baseline not in BASELINE_KINDS:
            return "file"
        return "generate" if self.baseline == "auto" else self.baseline

    @property
    def evidence_level(self) -> str:
        """How far evidence along vectors is measured: `off`, `score` or `full`."""
        return next((level for level in self.evidence.split(",") if level in EVIDENCE_LEVELS), "off")

    @property
    def asks_prompted_evidence(self) -> bool:
        """Whether likelihoods under the traits' system prompts are measured."""
        return PROMPTED_EVIDENCE in self.evidence.split(",")

    @property
    def generates_here(self) -> bool:
        """Whether the model answers prompts in this process, for which it is needed as a whole."""
        return self.baseline_server is None and self.baseline_kind in ("generate", "prompt")

    @property
    def field_keys(self) -> dict[str, str]:
        """Role → the field that the user named for it."""
        named = {role: getattr(self, f"{role}_key") for role in FIELD_ROLES}
        return {role: key for role, key in named.items() if key is not None}

    def compared(self) -> dict[str, Any]:
        """Return the settings that an earlier run must share to be continued, as JSON values."""
        values = dataclasses.asdict(self)
        # That a server answers counts, not where it stands: an address may change, or tell of a private network.
        values["baseline_server"] = self.baseline_server is not None
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name not in _NOT_COMPARED
        }


def is_dataset(reference: str) -> bool:
    """Tell whether `--reference` names data that is to be scanned, not a run."""
    return not (Path(reference) / "manifest.json").is_file()


def plan_reference_scan(config: ScanConfig) -> ScanConfig:
    """Return the scan of the clean data that `--reference` names: as the data is scanned, beside its run.

    Raises:
        ConfigError: the baselines come from a file, which has no responses to the clean data's prompts.
    """
    assert config.reference is not None
    if config.baseline_kind == "file":
        cure = "scan the clean data with its own --baseline FILE, and pass that run"
        raise ConfigError("--reference", "the baseline file answers the dataset's prompts alone", cure)
    out = config.run_path.parent / f"{dataset_stem(config.reference)}.audit"
    if out == config.run_path:
        out = out.with_name(f"{dataset_stem(config.reference)}-reference.audit")
    return dataclasses.replace(
        config,
        datasets=(config.reference,),
        out=str(out),
        reference=None,
        keep_columns=(),
        format=None,
        split=None,
        limit=None,
        fresh=False,
        messages_key=None,
        prompt_key=None,
        response_key=None,
        chosen_key=None,
        rejected_key=None,
        system_key=None,
        text_key=None,
    )


def dataset_stem(path: str) -> str:
    """Return the file name without its data and compression suffixes: `a/b.jsonl.gz` gives `b`.

    `-` gives `stdin`; a pattern gives the name of its directory.
    """
    if path == "-":
        return "stdin"
    place = Path(path)
    while re.search(r"[*?\[]", place.name) and place.parent != place and not place.exists():
        place = place.parent
    name = place.name or "data"
    return re.sub(r"(\.(jsonl|ndjson|json|parquet|csv|tsv|arrow|gz|zst))+$", "", name, flags=re.IGNORECASE) or name


def _check_choice(option: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise ConfigError(option, f"{value!r} is not known", f"choose one of {', '.join(choices)}")


def _check_at_least(option: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ConfigError(option, f"{value} is out of range", f"choose {least} or more")
