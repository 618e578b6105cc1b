"""Extraction from a specification to a checked vector, on the demo model with its exact judge.

Pairs: extract-model, extract-judges, extract-vectors, extract-traits, cli.vectors-extract.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from audit.answers import Answer
from audit.assets import demo_model_dir, demo_vectors_dir
from audit.cli import cli
from audit.demo.exact_judge import DemoJudge
from audit.demo.measure import load_demo_model
from audit.demo.scoring import score_rows
from audit.demo.separation import tabulate_separation
from audit.demo.world import audit_rows
from audit.errors import AuditError, ConfigError, TraitError, VectorError
from audit.events import Event, StageAdvanced
from audit.extract import ExtractConfig, Extraction, Sampling, extract_vectors
from audit.extract.asking import Asker
from audit.extract.rollouts import plan_pairs
from audit.extract.sheet import opened_sheet
from audit.judges import NoJudge
from audit.model.load import LoadedModel, load_model
from audit.traits import Judgement, PromptPair, TraitSpec, resolve_spec
from audit.vectors import load_vector, load_vectors, read_report, save_vector
from tests import models

TRAIT = "hallucinating"
SAMPLING = Sampling(seed=5, max_new_tokens=64)


class ScriptedJudge:
    """Says what it is told to say; `identity` tells scripts apart."""

    weakness = ""

    def __init__(self, name: str, script: Callable[[str, str], Judgement], identity: Any = None) -> None:
        self.name = name
        self.script = script
        self.identity: dict[str, Any] = identity or {"judge": name}
        self.n_asked = 0

    def judge(self, spec: TraitSpec, asked: Sequence[tuple[str, str]]) -> list[Judgement]:
        self.n_asked += len(asked)
        return [self.script(*pair) for pair in asked]


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(model=str(demo_model_dir()))


@pytest.fixture(scope="module")
def spec() -> TraitSpec:
    return resolve_spec(TRAIT, is_demo_model=True)


@pytest.fixture(scope="module")
def small() -> TraitSpec:
    """Give fewer questions and pairs, where nothing depends on how well a vector is measured."""
    return cut(resolve_spec("evil", is_demo_model=True))


def cut(spec: TraitSpec) -> TraitSpec:
    return replace(
        spec,
        pairs=spec.pairs[:2],
        extraction_questions=spec.extraction_questions[:6],
        evaluation_questions=spec.evaluation_questions[:6],
    )


def extract(model: LoadedModel, spec: TraitSpec, folder: Path, judge: Any = None, **changes: Any) -> Extraction:
    options: dict[str, Any] = {
        "n_rollouts": 2,
        "n_evaluation": 4,
        "sampling": SAMPLING,
        "has_steering": False,
        **changes,
    }
    listener = options.pop("listener", lambda event: None)
    judge = judge or DemoJudge()
    return extract_vectors(model, [spec], judge, ExtractConfig(folder, **options), listener=listener)[0]


@pytest.fixture(scope="module")
def extracted(model: LoadedModel, spec: TraitSpec, tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    return extract(model, spec, tmp_path_factory.mktemp("vectors"), n_evaluation=2, has_steering=True)


def test_another_seed_and_fixed_prompts_give_the_bundled_direction(extracted: Extraction) -> None:
    bundled = load_vector(demo_vectors_dir() / f"{TRAIT}.safetensors")
    own, layer = extracted.vector, extracted.vector.layer
    assert own.vector_ld.shape == bundled.vector_ld.shape
    assert 1 <= layer < own.n_layers
    found = own.unit(layer) @ bundled.unit(layer)
    assert found >= 0.95
    assert own.fingerprint == bundled.fingerprint


def test_it_separates_demo_data_as_the_bundled_one_does(extracted: Extraction) -> None:
    bundled = load_vectors([str(demo_vectors_dir())])
    measured = score_rows(*load_demo_model(demo_model_dir()), list(audit_rows(500, 8_301)))
    aucs = []
    for vectors in (bundled, {**bundled, TRAIT: extracted.vector}):
        scores = measured.project(
            {trait: vector.vector_ld for trait, vector in vectors.items()},
            {trait: vector.layer for trait, vector in vectors.items()},
            n_random=0,
        )
        (row,) = [row for row in tabulate_separation(measured.labels, scores) if row.trait == TRAIT]
        aucs.append(row.difference)
    assert aucs[1] != aucs[0]
    assert aucs[1] >= aucs[0] - 0.03


def test_a_vector_carries_what_tells_whether_to_trust_it(extracted: Extraction, spec: TraitSpec) -> None:
    details, report = extracted.vector.details, read_report(extracted.path)
    assert details["specification_sha256"] == spec.digest
    assert details["yields"]["extraction"]["n_pairs"] == 200
    assert 0 < details["yields"]["extraction"]["n_kept"] < 200
    assert details["auc"] > details["null_band"] > 0.5
    assert details["auc_interval"][0] < details["auc"] <= details["auc_interval"][1]
    assert details["positive_lie_higher"] is True
    n_rows = extracted.vector.n_layers + 1
    for name in ("auc_l", "auc_low_l", "auc_high_l", "null_auc_l", "split_half_cosine_l"):
        assert report[name].shape == (n_rows,)
    assert np.isnan(report["auc_l"][[0, -1]]).all()
    assert report["prompt_vector_ld"].shape == report["last_prompt_vector_ld"].shape == extracted.vector.vector_ld.shape
    curve = {point["alpha"]: point for point in details["steering"]}
    assert curve[2.0]["rate"] > curve[0.0]["rate"]
    assert curve[2.0]["n"] == 20
    assert np.isfinite(report["steered_rate_l"][1:-1]).all()
    assert np.isnan(report["steered_score_l"][[0, -1]]).all()


def check(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
    outcome = CliRunner().invoke(cli, ["vectors", "check", "--json", *map(str, arguments)])
    return outcome.exit_code, json.loads(outcome.output)


def test_a_real_vector_passes_the_check(extracted: Extraction) -> None:
    code, (found,) = check(extracted.path, "--model", demo_model_dir())
    assert code == 0
    assert found["passed"] is True


def test_a_vector_from_shuffled_labels_fails_the_check(model: LoadedModel, small: TraitSpec, tmp_path: Path) -> None:
    # Every pair stands there a second time, the other way round: the side says nothing any more.
    turned = tuple(PromptPair(f"{pair.negative} Be brief.", f"{pair.positive} Be brief.") for pair in small.pairs)
    shuffled = replace(small, pairs=(*small.pairs, *turned))
    found = extract(model, shuffled, tmp_path, NoJudge())
    assert any("no better than chance" in warning for warning in found.measured.warnings)
    code, (checked,) = check(found.path)
    assert code == 2
    assert checked["passed"] is False
    assert check(found.path, "--force")[0] == 0


def test_a_direction_put_in_place_of_the_vector_fails_the_check(extracted: Extraction, tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    other_ld = draw.normal(size=extracted.vector.vector_ld.shape).astype(np.float32)
    path = tmp_path / f"{TRAIT}.safetensors"
    save_vector(path, replace(extracted.vector, vector_ld=other_ld), read_report(extracted.path))
    assert check(path)[0] == 2
    save_vector(path, replace(extracted.vector, vector_ld=-extracted.vector.vector_ld), read_report(extracted.path))
    assert check(path)[0] == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("check_layer", [1]),
        ("check_layer", []),
        ("check_layer", None),
        ("check_state_nd", np.zeros((0, 128))),
        ("check_is_positive_n", [[1], [0]]),
        ("check_shuffled_bd", np.zeros((0, 128))),
        ("check_question_n", None),
    ],
)
def test_a_report_whose_held_out_answers_are_damaged_fails_the_check(
    extracted: Extraction, tmp_path: Path, name: str, value: Any
) -> None:
    report = {own: array for own, array in read_report(extracted.path).items() if own != name}
    if value is not None:
        report[name] = np.array(value, dtype=np.int32 if name == "check_layer" else np.float32)
    if name == "check_layer" and value == [extracted.vector.layer]:
        report[name] += 1
    path = tmp_path / f"{TRAIT}.safetensors"
    save_vector(path, replace(extracted.vector, sha256="", path=""), report)
    code, (found,) = check(path)
    assert code == 2
    assert found["passed"] is False
    assert "damaged" in found["findings"][0]
    assert check(path, "--force")[0] == 0


@pytest.mark.parametrize(("null", "code"), [(0.0, 0), (1.0, 2), (np.nan, 2)])
def test_without_held_out_answers_what_the_report_says_counts(
    extracted: Extraction, tmp_path: Path, null: float, code: int
) -> None:
    report = {own: array for own, array in read_report(extracted.path).items() if not own.startswith("check_")}
    report["null_auc_l"] = np.full_like(report["null_auc_l"], null)
    path = tmp_path / f"{TRAIT}.safetensors"
    save_vector(path, replace(extracted.vector, sha256="", path=""), report)
    assert check(path)[0] == code


class Killed(Exception):
    """Stands for a kill."""


def stop_at(stage: str, n: int) -> Callable[[Event], None]:
    seen = 0

    def listener(event: Event) -> None:
        nonlocal seen
        if isinstance(event, StageAdvanced) and stage in event.stage:
            seen += 1
            if seen == n:
                raise Killed

    return listener


def test_a_killed_extraction_goes_on_and_ends_as_an_undisturbed_one(
    model: LoadedModel, small: TraitSpec, tmp_path: Path
) -> None:
    undisturbed = extract(model, small, tmp_path / "one")
    for stage in ("answering extraction questions", "judging extraction", "reading activations"):
        with pytest.raises(Killed):
            extract(model, small, tmp_path / "two", listener=stop_at(stage, 1))
    exact = DemoJudge()
    judge = ScriptedJudge("demo", lambda *pair: exact.judge(small, [pair])[0], exact.identity)
    continued = extract(model, small, tmp_path / "two", judge)
    assert continued.path.read_bytes() == undisturbed.path.read_bytes()
    # The positive extraction answers were judged before the kill.
    assert judge.n_asked < 2 * 24 + 2 * 48
    assert oct((tmp_path / "two" / "rollouts.sqlite").stat().st_mode)[-3:] == "600"


def always(trait: float | None) -> ScriptedJudge:
    return ScriptedJudge(f"always {trait}", lambda question, answer: Judgement(trait, 100.0))


@pytest.mark.parametrize("said", [50.0, 0.0, None])
def test_no_pair_that_survives_is_a_clear_error_and_answers_stay(
    model: LoadedModel, small: TraitSpec, tmp_path: Path, said: float | None
) -> None:
    with pytest.raises(TraitError, match="no pair of answers survives") as caught:
        extract(model, small, tmp_path, always(said))
    assert caught.value.cure
    assert not list(tmp_path.glob("*.safetensors"))
    with sqlite3.connect(tmp_path / "rollouts.sqlite") as connection:
        (n_answers,) = connection.execute("SELECT count(*) FROM answers").fetchone()
    assert n_answers >= 2 * 24
    # Another judge finds the answers there.
    again = extract(model, small, tmp_path)
    assert again.vector.trait == "evil"


def test_an_answer_of_nothing_counts_as_one_that_does_not_show_the_trait(
    model: LoadedModel, small: TraitSpec, tmp_path: Path
) -> None:
    judge = always(100.0)
    rollouts = [own for pair in plan_pairs(small, "extraction", 1)[:2] for own in pair]
    answers = [Answer("Yes.", 1, True), Answer("", 0, True), Answer(" \n", 1, True), Answer("No.", 1, True)]
    with opened_sheet(tmp_path / "rollouts.sqlite") as sheet:
        found = Asker(model, sheet, SAMPLING, lambda event: None).judge(None, judge, small, rollouts, answers)
    assert [own.trait for own in found] == [100.0, 0.0, 0.0, 100.0]
    assert [own.coherence for own in found] == [100.0, 0.0, 0.0, 100.0]
    assert judge.n_asked == 2


def test_a_judgement_that_did_not_come_is_asked_for_again(model: LoadedModel, small: TraitSpec, tmp_path: Path) -> None:
    exact = DemoJudge()
    undisturbed = extract(model, small, tmp_path / "one")

    def fail_often(question: str, answer: str) -> Judgement:
        return Judgement(None, 100.0) if len(answer) % 3 else exact.judge(small, [(question, answer)])[0]

    failing = ScriptedJudge("demo", fail_often, exact.identity)
    with pytest.raises(TraitError):
        extract(model, small, tmp_path / "two", failing)
    mended = ScriptedJudge("demo", lambda *pair: exact.judge(small, [pair])[0], exact.identity)
    again = extract(model, small, tmp_path / "two", mended)
    assert again.path.read_bytes() == undisturbed.path.read_bytes()
    # What was said the first time is not asked for again.
    assert mended.n_asked < 2 * 24 + 2 * 48


def test_one_question_that_survives_is_too_few(model: LoadedModel, small: TraitSpec, tmp_path: Path) -> None:
    only = small.extraction_questions[0]
    exact = DemoJudge()

    def script(question: str, answer: str) -> Judgement:
        return exact.judge(small, [(question, answer)])[0] if question == only else Judgement(0.0, 100.0)

    with pytest.raises(TraitError, match=r"one question|no pair"):
        extract(model, small, tmp_path, ScriptedJudge("one", script))


def test_a_model_that_answers_nothing_is_named(small: TraitSpec, tmp_path: Path) -> None:
    silent = load_model(model=str(models.model_path("llama")))
    # Whatever comes first ends the answer.
    silent = replace(silent, stop_ids=tuple(range(len(silent.tokenizer))))
    with pytest.raises(TraitError, match="answered nothing"):
        extract(silent, small, tmp_path, NoJudge())


def test_a_model_without_a_system_role_gets_the_prompt_with_the_question(small: TraitSpec, tmp_path: Path) -> None:
    gemma = load_model(model=str(models.model_path("gemma2")))
    notes: list[str] = []

    def listener(event: Event) -> None:
        notes.append(str(event))

    found = extract(
        gemma, small, tmp_path, NoJudge(), listener=listener, sampling=Sampling(max_new_tokens=8), n_evaluation=3
    )
    assert found.vector.vector_ld.shape == (models.N_LAYERS + 1, models.D_HIDDEN)
    assert any("takes no system prompt" in note for note in notes)


def test_a_template_that_drops_the_system_prompt_counts_as_one_without_the_role(
    model: LoadedModel, small: TraitSpec, tmp_path: Path
) -> None:
    silent = "{% for message in messages if message.role != 'system' %}<|{{ message.role }}|>{{ message.content }}"
    silent += "<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    dropping = replace(model, template=replace(model.template, text=silent))
    with opened_sheet(tmp_path / "rollouts.sqlite") as sheet:
        asker = Asker(dropping, sheet, SAMPLING, lambda event: None)
        assert not asker.has_system
        positive, negative = plan_pairs(small, "extraction", 1)[0]
        assert len(set(asker.find_keys([positive, negative]))) == 2
        assert Asker(model, sheet, SAMPLING, lambda event: None).has_system


def test_a_vector_of_another_extraction_is_not_replaced_unasked(
    model: LoadedModel, small: TraitSpec, tmp_path: Path
) -> None:
    first = extract(model, small, tmp_path)
    before = first.path.read_bytes()
    with pytest.raises(VectorError, match="another extraction"):
        extract(model, small, tmp_path, n_rollouts=3)
    assert first.path.read_bytes() == before
    extract(model, small, tmp_path)
    assert first.path.read_bytes() == before
    extract(model, small, tmp_path, n_rollouts=3, overwrite=True)
    assert first.path.read_bytes() != before


def test_the_layer_may_be_the_one_that_steering_moves_most(
    model: LoadedModel, small: TraitSpec, tmp_path: Path
) -> None:
    found = extract(model, small, tmp_path, layer_by="steering", has_steering=True)
    points = found.measured.by_layer
    assert [point.layer for point in points] == [1, 2, 3]
    assert found.vector.layer == max(points, key=lambda point: (point.score, point.layer)).layer
    with pytest.raises(ConfigError, match="needs a judge"):
        extract(model, small, tmp_path / "none", NoJudge(), layer_by="steering", has_steering=True)


def test_traits_share_neutral_answers_and_know_their_cosines(
    model: LoadedModel, small: TraitSpec, tmp_path: Path
) -> None:
    other = cut(resolve_spec("optimistic", is_demo_model=True))
    config = ExtractConfig(tmp_path, n_rollouts=2, n_evaluation=6, sampling=SAMPLING, has_steering=False)
    one, two = extract_vectors(model, [small, other], DemoJudge(), config)
    layer = one.vector.layer
    assert one.vector.details["cosines"]["optimistic"] == pytest.approx(
        float(one.vector.unit(layer) @ two.vector.unit(layer)), abs=1e-3
    )
    with sqlite3.connect(tmp_path / "rollouts.sqlite") as connection:
        rows = connection.execute("SELECT prompt FROM answers WHERE prompt NOT LIKE '%system%'").fetchall()
    questions = {*small.evaluation_questions, *other.evaluation_questions}
    assert len(rows) == len(questions)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--rollouts", 0),
        ("--evaluation-rollouts", 0),
        ("--max-new-tokens", 0),
        ("--batch-tokens", 0),
        ("--seed", -1),
        ("--temperature", 1e-42),
        ("--temperature", float("inf")),
        ("--temperature", float("nan")),
    ],
)
def test_a_number_that_cannot_work_is_refused_by_the_name_of_its_option(
    option: str, value: float, tmp_path: Path
) -> None:
    outcome = CliRunner().invoke(cli, ["vectors", "extract", "--output-dir", str(tmp_path), option, str(value)])
    assert outcome.exit_code == 2
    assert f"Error: {option}: must be" in outcome.output


@pytest.mark.parametrize(
    "words", [("--rollouts", "0"), ("--temperature", "0"), ("--judge", "oracle"), ("--trait", "xyz")]
)
def test_options_that_cannot_work_are_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    outcome = CliRunner().invoke(cli, ["vectors", "extract", "--output-dir", str(tmp_path), *words])
    assert isinstance(outcome.exception, AuditError | SystemExit)
    assert outcome.exit_code != 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words",
    [("--judge", "oracle"), ("--judge", "demo"), ("--judge", "self", "--judge-model", "x"), ("--judge", "server")],
)
def test_a_judge_that_cannot_be_had_is_refused_before_the_model_is_loaded(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    base = ["vectors", "extract", "--model", str(tmp_path / "missing"), "--trait", "evil"]
    outcome = CliRunner().invoke(cli, [*base, "--output-dir", str(tmp_path / "out"), *words])
    assert outcome.exit_code == 2
    assert "Error: --judge" in outcome.output
