"""Column names, Arrow types, units and format version of every table in a run directory.

Knows the shape of what is written, not who writes or reads it. The names are a contract with users' queries.
"""

from __future__ import annotations

import re

import pyarrow as pa

FORMAT_VERSION = 1

RANDOM_DIRECTIONS = 32
"""Random directions that evidence is measured along, beside those of the traits: the band of chance."""

DIFFERENCE_DIMENSIONS = 256
"""Largest width of the stored difference vectors, 512 bytes a row: enough for clusters (Johnson-Lindenstrauss)."""

WINDOW_TOKENS = 16
"""Response tokens that a window spans: a sentence or so. One that is shorter is a window as a whole."""

FORMATS = ("chat", "prompt_completion", "preference", "sharegpt", "alpaca", "qa", "hh", "text")
"""Record families, in the order in which equally good ones are preferred."""

FIELD_ROLES = ("messages", "prompt", "response", "chosen", "rejected", "system", "text")
"""What a field can be named for: `--messages-key`, `--prompt-key` and so on."""

SCORED_SIDES = ("response", "chosen")
"""Sides that training pushes towards, hence the only ones that flag a row."""

SCORED_STATUSES = ("ok", "truncated", "baseline_failed")


def _field(name: str, kind: pa.DataType, meaning: str) -> pa.Field:
    return pa.field(name, kind, metadata={"meaning": meaning})


TURN_KEY = [
    _field("sample_id", pa.int64(), "position over all inputs, from 0"),
    _field("side", pa.string(), "response; chosen or rejected in preference data"),
    _field("turn", pa.int32(), "index of the assistant message, from 0"),
    _field("part", pa.string(), "answer or reasoning"),
]

SAMPLES = pa.schema(
    [
        _field("sample_id", pa.int64(), "position over all inputs, from 0"),
        _field("source", pa.string(), "path of the input as given"),
        _field("line", pa.int64(), "line, from 1; row number for tables and arrays"),
        _field("byte_offset", pa.int64(), "start of the record in the decompressed text; null for tables"),
        _field("byte_length", pa.int64(), "length of the record in bytes; null for tables"),
        _field("format", pa.string(), "record family; null where the record could not be read"),
        _field("n_turns", pa.int32(), "assistant turns found"),
        _field("status", pa.string(), "ok or skipped"),
        _field("reason", pa.string(), "why the record was skipped: a code, then the finding"),
        _field("content_id", pa.int64(), "hash of the conversation, the same in every file and format; null if unread"),
    ]
)

TURNS = pa.schema(
    [
        *TURN_KEY,
        _field("status", pa.string(), "ok, truncated, baseline_failed have scores; any other has none"),
        _field("reason", pa.string(), "why the status is not ok"),
        _field("n_prompt_tokens", pa.int32(), "tokens before the response"),
        _field("n_response_tokens", pa.int32(), "tokens of the response that were scored"),
        _field("n_baseline_tokens", pa.int32(), "tokens of the baseline response; of several their mean"),
        _field("response_nll", pa.float32(), "mean nats per response token"),
        _field("is_refusal", pa.bool_(), "the response opens like a refusal"),
        _field("baseline_is_refusal", pa.bool_(), "baseline_response opens like a refusal"),
        _field("list_share", pa.float32(), "share of the response's lines that are list items"),
        _field("code_share", pa.float32(), "share of the response's characters inside code fences"),
        _field("baseline_kind", pa.string(), "generated, predicted, prompt, file; null without baseline"),
        _field("baseline_response", pa.string(), "the baseline text y'; where several are drawn, the first"),
        _field("n_tool_calls", pa.int32(), "tools that the turn calls; the calls themselves are not scored"),
        _field("baseline_draw", pa.string(), "why it was generated: all; with auto: random, chosen-N, audit-N, shared"),
        _field("evidence_reason", pa.string(), "why evidence_z is null though evidence was asked for"),
        _field("language", pa.string(), "of the response, ISO 639-1; null where it is too short to tell"),
        _field("is_role_play", pa.bool_(), "the prompt asks for a role, or the response plays one"),
        _field("baseline_list_share", pa.float32(), "list_share of the baseline"),
        _field("baseline_code_share", pa.float32(), "code_share of the baseline"),
    ]
)

SCORES = pa.schema(
    [
        *TURN_KEY,
        _field("trait", pa.string(), "trait"),
        _field("layer", pa.int32(), "decoder block, from 1"),
        _field("projection", pa.float32(), "residual-stream units along the unit vector"),
        _field("baseline_projection", pa.float32(), "the same of the baseline; mean over --baseline-samples"),
        _field("projection_difference", pa.float32(), "projection minus baseline_projection"),
        _field("prompt_projection", pa.float32(), "at the last token before the response"),
        _field("predicted_baseline_projection", pa.float32(), "baseline_projection as the prompt predicts it (auto)"),
        _field(
            "standard_error", pa.float32(), "of projection_difference where the baseline is predicted or sampled twice"
        ),
        _field(
            "orthogonal_difference",
            pa.float32(),
            "projection_difference along what the vector has orthogonal to the other traits' vectors",
        ),
        _field(
            "window_difference",
            pa.float32(),
            "largest mean projection over 16 tokens in a row, minus the same of the baseline",
        ),
        _field(
            "layer_difference",
            pa.float32(),
            "projection difference in lengths of the stored vector, mean over the scoring layer and the two below it",
        ),
        _field("evidence", pa.float32(), "slope of the response's log-likelihood, nats per unit of the stored vector"),
        _field("evidence_z", pa.float32(), "evidence over its null standard deviation: 0 on average for own samples"),
        _field(
            "evidence_variance",
            pa.float32(),
            "null variance of evidence; with --evidence score one unbiased draw of it, to be summed only",
        ),
        _field(
            "prompted_evidence",
            pa.float32(),
            "log-likelihood under the trait's positive minus its negative system prompts, nats per token",
        ),
        _field("prompted_evidence_z", pa.float32(), "its surprise over its null standard deviation"),
        _field("prompted_gain", pa.float32(), "log-likelihood under the positive prompts minus under none, per token"),
    ]
)

RANDOM_EVIDENCE = pa.schema(
    [
        *TURN_KEY,
        _field("layer", pa.int32(), "decoder block, from 1"),
        _field(
            "evidence",
            pa.list_(pa.float32(), RANDOM_DIRECTIONS),
            "evidence along seeded random unit directions, nats per unit",
        ),
        _field(
            "null_evidence",
            pa.list_(pa.float32(), RANDOM_DIRECTIONS),
            "the same of tokens that the model draws in the response's place: its square is an unbiased null variance",
        ),
    ]
)

FLAGS = pa.schema(
    [
        _field("sample_id", pa.int64(), "position over all inputs, from 0"),
        _field("trait", pa.string(), "trait"),
        _field("projection_difference", pa.float32(), "largest over the scored turns; null without baseline"),
        _field("orthogonal_difference", pa.float32(), "the same of orthogonal_difference"),
        _field("window_difference", pa.float32(), "the same of window_difference"),
        _field("layer_difference", pa.float32(), "the same of layer_difference"),
        _field("evidence_z", pa.float32(), "the same of evidence_z"),
        _field("length_adjusted", pa.float32(), "risk less what clean turns of these lengths have on average"),
        _field(
            "risk",
            pa.float32(),
            "the score that flags are made from: orthogonal_difference + evidence_z, each in SD of the reference",
        ),
        _field("z", pa.float32(), "risk in standard deviations of the reference's turns"),
        _field("z_language", pa.float32(), "the same among its turns of the language; null where there are too few"),
        _field("z_length", pa.float32(), "the same among its turns of the length band; null where there are too few"),
        _field("percentile", pa.float32(), "share of the reference's turns at or below the risk, in percent"),
        _field("p_value", pa.float32(), "chance that a clean record of as many turns has this risk or more"),
        _field("q_value", pa.float32(), "share of clean records expected among all that are at least this unusual"),
        _field("flagged", pa.bool_(), "by the rule of the run (--flag)"),
        _field("reason", pa.string(), "what made or unmade the flag"),
    ]
)

CLUSTERS = pa.schema(
    [
        _field("sample_id", pa.int64(), "position over all inputs, from 0"),
        _field("cluster_id", pa.int32(), "cluster, from 0, largest first"),
        _field("x", pa.float32(), "first principal coordinate of the difference"),
        _field("y", pa.float32(), "second principal coordinate of the difference"),
    ]
)

VERDICTS = pa.schema(
    [
        _field("trait", pa.string(), "trait"),
        _field("layer", pa.int32(), "decoder block, from 1"),
        _field("n", pa.int64(), "samples with a score, inside the model's domain"),
        _field(
            "mean_difference",
            pa.float64(),
            "mean over samples of the mean over turns; of raw projections in a run without baseline",
        ),
        _field("ci_low", pa.float64(), "95 % interval of mean_difference"),
        _field("ci_high", pa.float64(), "95 % interval of mean_difference"),
        _field("cohens_d", pa.float64(), "against the reference; null without one"),
        _field("cohens_d_low", pa.float64(), "95 % interval of cohens_d"),
        _field("cohens_d_high", pa.float64(), "95 % interval of cohens_d"),
        _field("random_band", pa.float64(), "97.5 % quantile of Cohen's d along 200 random directions"),
        _field("evidence_z_pooled", pa.float64(), "sum of evidence over the root of the sum of its null variances"),
        _field(
            "evidence_band",
            pa.float64(),
            "one-sided 97.5 % quantile of evidence_z_pooled over random directions of the same space",
        ),
        _field("mean_evidence_z", pa.float64(), "mean evidence_z over turns: the effect size"),
        _field("mean_evidence_z_low", pa.float64(), "95 % interval of mean_evidence_z"),
        _field("mean_evidence_z_high", pa.float64(), "95 % interval of mean_evidence_z"),
        _field("n_flagged", pa.int64(), "samples flagged for this trait"),
        _field("expected_false_flags", pa.float64(), "flags that clean data of this size would give"),
        _field("verdict", pa.string(), "clear, watch, risk, undecided"),
        _field("reason", pa.string(), "the finding behind the verdict, in words"),
    ]
)

MARKS = pa.schema(
    [
        _field("sample_id", pa.int64(), "position over all inputs, from 0"),
        _field("n_scored_turns", pa.int32(), "answers with scores that count for the record"),
        _field("n_response_tokens", pa.int32(), "mean tokens of these answers"),
        _field("n_baseline_tokens", pa.int32(), "mean tokens of their baselines"),
        _field("language", pa.string(), "the commonest among these answers"),
        _field("is_refusal", pa.bool_(), "any of these answers opens like a refusal"),
        _field("baseline_is_refusal", pa.bool_(), "any of their baselines does"),
        _field("is_role_play", pa.bool_(), "any of these answers plays a role, or is asked to"),
        _field("list_share", pa.float32(), "mean of these answers"),
        _field("code_share", pa.float32(), "mean of these answers"),
        _field("response_nll", pa.float32(), "mean of these answers, nats per token"),
    ]
)

NEAR_DUPLICATES = pa.schema(
    [
        _field("sample_id", pa.int64(), "a record that is not flagged"),
        _field("flagged_id", pa.int64(), "the flagged record that it is nearest to"),
        _field("similarity", pa.float32(), "cosine of their difference vectors, centred and whitened"),
    ]
)

UNNAMED_DIRECTIONS = pa.schema(
    [
        _field("direction_id", pa.int32(), "from 0, the most unusual first"),
        _field("spread", pa.float32(), "mean square around the clean mean over the clean variance; null if unknown"),
        _field("skew", pa.float32(), "skewness of the records along it, 0 or above: large where a few stand apart"),
        _field("high_ids", pa.list_(pa.int64()), "records furthest along it"),
        _field("low_ids", pa.list_(pa.int64()), "records furthest against it"),
        _field("high_keywords", pa.list_(pa.string()), "words typical of the responses far along it"),
        _field("low_keywords", pa.list_(pa.string()), "words typical of the responses far against it"),
        _field("direction", pa.list_(pa.float32()), "unit vector in the space of the stored differences"),
    ]
)

JUDGE = pa.schema(
    [
        _field("sample_id", pa.int64(), "position over all inputs, from 0"),
        _field("trait", pa.string(), "trait"),
        _field("draw", pa.string(), "flagged, or random: from all records that could be flagged"),
        _field("judge_score", pa.float32(), "how much the answers show the trait, 0 to 100; null without a number"),
        _field("is_judged_present", pa.bool_(), "judge_score at or above the limit"),
        _field("reason", pa.string(), "why there is no number"),
    ]
)


def differences_schema(width: int) -> pa.Schema:
    """Return the schema of stored difference vectors of this width."""
    meaning = "mean hidden state of the response minus the baseline's, reduced by a seeded random projection"
    return pa.schema([*TURN_KEY, _field("difference", pa.list_(pa.float16(), width), meaning)])


def cluster_summary_schema(traits: tuple[str, ...]) -> pa.Schema:
    """Return the schema of cluster_summary: the fixed columns and one mean per trait."""
    fixed = [
        _field("cluster_id", pa.int32(), "cluster, from 0, largest first"),
        _field("size", pa.int64(), "samples in the cluster"),
        _field("n_flagged", pa.int64(), "flagged samples in the cluster"),
        _field("flagged_share", pa.float32(), "n_flagged / size"),
        _field("enrichment", pa.float32(), "flagged_share over the run's flagged share"),
        _field("q_value", pa.float32(), "hypergeometric test of the enrichment, Benjamini-Hochberg"),
        _field("keywords", pa.list_(pa.string()), "words typical of the cluster's responses"),
        _field("example_ids", pa.list_(pa.int64()), "samples nearest to the centre"),
        _field("typical_ids", pa.list_(pa.int64()), "samples at the median distance from the centre"),
    ]
    means = [_field(trait, pa.float32(), "mean score of the cluster") for trait in traits]
    return pa.schema(fixed + means)


def sample_scores_schema(traits: tuple[str, ...]) -> pa.Schema:
    """Return the schema of sample_scores: the fixed columns, one column per trait, one `<trait>_mean` per trait."""
    fixed = [
        _field("sample_id", pa.int64(), "position over all inputs, from 0"),
        _field("source", pa.string(), "path of the input as given"),
        _field("line", pa.int64(), "line, from 1; row number for tables and arrays"),
        _field("status", pa.string(), "ok or skipped"),
        _field("n_response_tokens", pa.int32(), "tokens of the answers that count for the record"),
        _field("n_scored_turns", pa.int32(), "answers with a score that count for the record"),
        _field(
            "score_kind",
            pa.string(),
            "difference, predicted_, prompt_difference or projection; null if skipped",
        ),
        _field("flagged", pa.bool_(), "flagged for any trait; null without a score"),
        _field("flagged_traits", pa.list_(pa.string()), "traits it is flagged for, sorted; null without a score"),
        _field("cluster_id", pa.int32(), "cluster, from 0; null where not clustered"),
        _field("near_flagged", pa.bool_(), "not flagged, but near a flagged record; null where not compared"),
    ]
    largest = [_field(trait, pa.float32(), "largest score over the turns that count") for trait in traits]
    means = [_field(f"{trait}_mean", pa.float32(), "mean score over the turns that count") for trait in traits]
    return pa.schema([*fixed, *largest, *means])


TRAIT_NAME = re.compile(r"[a-z][a-z0-9_]*")

_FIXED_COLUMNS = frozenset(
    name
    for schema in (
        SAMPLES,
        TURNS,
        SCORES,
        differences_schema(1),
        RANDOM_EVIDENCE,
        FLAGS,
        CLUSTERS,
        VERDICTS,
        MARKS,
        NEAR_DUPLICATES,
        UNNAMED_DIRECTIONS,
        JUDGE,
        cluster_summary_schema(()),
        sample_scores_schema(()),
    )
    for name in schema.names
)


def is_fixed_column(name: str) -> bool:
    """Tell whether one of the relations has a column of this name in every run."""
    return name in _FIXED_COLUMNS


def is_trait_name(name: str) -> bool:
    """Tell whether `name` can be a column of `sample_scores` beside the fixed ones."""
    stem = name.removesuffix("_mean")
    return bool(TRAIT_NAME.fullmatch(name)) and name not in _FIXED_COLUMNS and stem not in _FIXED_COLUMNS
