"""The short form of `make evidence`: the null holds on the model's own samples and breaks where it must, and evidence
sees wrong remedies better than the projection difference does.

Pairs covered: demo-run, demo-model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from audit.assets import demo_model_dir, demo_vectors_dir
from audit.demo.evidence_null import make_job, tabulate_null
from audit.demo.evidence_pairs import run_pairs
from audit.demo.evidence_samples import ERRORS, OwnSamples, draw_own_samples
from audit.demo.phrases import TRAITS
from audit.model.load import LoadedModel, load_model
from audit.model.turns import TokenizedTurn
from audit.vectors import load_vectors

N_SAMPLES = 150
N_PAIRS = 60


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model(model=str(demo_model_dir()))


@pytest.fixture(scope="module")
def samples(model: LoadedModel) -> OwnSamples:
    return draw_own_samples(model, N_SAMPLES, seed=302)


def measure(
    model: LoadedModel, turns: Sequence[TokenizedTurn], traits: Sequence[str], n_random: int = 0
) -> dict[str, dict[str, float]]:
    vectors = load_vectors([str(demo_vectors_dir())])
    table = tabulate_null(model, turns, make_job({trait: vectors[trait] for trait in traits}, n_random))
    return table["directions"] | {"surprise": table["surprise"]}


def test_answers_of_the_model_itself_have_a_z_around_0_with_variance_1(model: LoadedModel, samples: OwnSamples) -> None:
    for name, row in measure(model, samples.turns, TRAITS, n_random=1).items():
        # Three standard errors of a mean of 150.
        assert abs(row["mean_z"]) <= 0.25, name
        assert 0.75 <= row["sd_z"] <= 1.2, name
        assert abs(row["pooled_z"]) <= 3.5, name


@pytest.mark.parametrize("error", ERRORS)
def test_a_broken_set_up_breaks_the_null(model: LoadedModel, samples: OwnSamples, error: str) -> None:
    rows = measure(model, ERRORS[error](samples, model), ["evil"])
    assert rows["surprise"]["pooled_z"] > 10
    assert rows["evil"]["sd_z"] > 1.2


def test_a_sample_keeps_the_tokens_that_were_drawn_and_knows_where_it_ended(
    model: LoadedModel, samples: OwnSamples
) -> None:
    for turn in samples.turns:
        assert turn.end_id == model.tokenizer.eos_token_id or turn.truncated
        assert turn.end_id not in turn.ids[turn.start :]
        assert turn.ids[turn.start - 1] == model.tokenizer.convert_tokens_to_ids("<|assistant|>")


def test_evidence_sees_wrong_remedies_better_than_the_projection_difference(tmp_path: Path) -> None:
    sets = run_pairs(tmp_path / "pairs", n=N_PAIRS, names=("wrong remedies",), evidence="full")["sets"]
    found = sets["wrong remedies"]
    assert found["auc"]["evidence z"]["value"] >= 0.92
    assert found["auc"]["evidence z"]["value"] > found["auc"]["projection difference"]["value"]
    assert found["bad"]["finding"] == "above the band"
    assert found["good"]["finding"] == "within"
