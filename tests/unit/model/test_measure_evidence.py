"""Evidence of turns against finite differences in float64, and what must not change it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import torch

from audit.errors import ModelError
from audit.model import derivatives, evidence, tail
from audit.model.derivatives import Way
from audit.model.evidence import Evidence, EvidenceJob, draw_random_directions, measure_evidence
from audit.model.hidden import project_turns
from audit.model.load import LoadedModel, load_model
from audit.model.packing import Group
from audit.model.turns import TokenizedTurn
from tests import oracle
from tests.models import D_HIDDEN, FAMILIES, PLAIN_FAMILIES, model_path

pytestmark = pytest.mark.usefixtures("one_thread")

N_RANDOM = 4
LAYERS = {"one": 2, "other": 2, "higher": 3}


def draw_vectors() -> dict[str, tuple[int, npt.NDArray[np.float32]]]:
    draw = np.random.default_rng(1)
    return {trait: (layer, draw.standard_normal(D_HIDDEN).astype(np.float32)) for trait, layer in LAYERS.items()}


def make_job(level: str = "full") -> EvidenceJob:
    random = {layer: draw_random_directions(D_HIDDEN, layer, N_RANDOM) for layer in (2, 3)}
    return EvidenceJob(level, draw_vectors(), random)


def draw_turns(model: LoadedModel) -> tuple[list[TokenizedTurn], list[int]]:
    """Two turns of one conversation, with a span that begins behind the prompt, and another conversation."""
    draw = np.random.default_rng(2)

    def ids(n: int) -> npt.NDArray[np.int32]:
        return draw.integers(0, model.fingerprint.n_vocab, n).astype(np.int32)

    opening, long = ids(6), ids(24)
    turns = [
        TokenizedTurn(np.concatenate([opening, ids(8)]), 6, 14, 6, truncated=False, end_id=1),
        TokenizedTurn(np.concatenate([opening, long]), 12, 30, 12, truncated=True),
        TokenizedTurn(ids(9), 4, 9, 4, truncated=False, end_id=0),
    ]
    return turns, [0, 0, 1]


def measure(model: LoadedModel, job: EvidenceJob, *, batch_tokens: int = 4096) -> Evidence:
    turns, groups = draw_turns(model)
    return measure_evidence(model, turns, job=job, batch_tokens=batch_tokens, seeds=[5, 6, 7], groups=groups)


def assert_close(found: Evidence, expected: Evidence, *, relative: float) -> None:
    scale = np.sqrt(expected.variance_nk)
    np.testing.assert_allclose(found.score_nk / scale, expected.score_nk / scale, atol=relative)
    np.testing.assert_allclose(found.variance_nk, expected.variance_nk, rtol=2 * relative)


@pytest.mark.parametrize("family", [*FAMILIES, *PLAIN_FAMILIES])
def test_slope_and_variance_are_those_of_the_definition(family: str) -> None:
    model = load_model(model=str(model_path(family)))
    found = measure(model, make_job())
    turns, _ = draw_turns(model)
    for n, turn in enumerate(turns):
        for k, (layer, vector_d) in enumerate(draw_vectors().values()):
            expected = oracle.measure_evidence(
                model.module, model.blocks[layer - 1], turn.ids.tolist(), turn.start, turn.end_id, vector_d
            )
            assert found.score_nk[n, k] == pytest.approx(expected.score, rel=1e-4, abs=1e-5)
            assert found.variance_nk[n, k] == pytest.approx(expected.variance, rel=1e-4)


@pytest.fixture(scope="module")
def llama() -> LoadedModel:
    return load_model(model=str(model_path("llama")))


@pytest.fixture
def padded(llama: LoadedModel) -> LoadedModel:
    return replace(llama, attention="padded")


def test_one_backward_pass_gives_the_slopes_that_tangents_give(llama: LoadedModel) -> None:
    full, score = measure(llama, make_job()), measure(llama, make_job("score"))
    np.testing.assert_allclose(score.score_nk, full.score_nk, rtol=1e-4, atol=1e-4)
    for layer in (2, 3):
        np.testing.assert_array_equal(score.random_nr[layer], full.random_nr[layer])
        np.testing.assert_array_equal(score.random_null_nr[layer], full.random_null_nr[layer])


def test_drawn_tokens_give_the_variance_on_average(llama: LoadedModel) -> None:
    turns, _ = draw_turns(llama)
    exact = measure(llama, make_job()).variance_nk[0]
    many = measure_evidence(llama, [turns[0]] * 300, job=make_job("score"), batch_tokens=4096, seeds=range(300))
    np.testing.assert_allclose(many.variance_nk.mean(axis=0), exact, rtol=0.3)
    # Along any other direction, too.
    as_vectors = {str(r): (2, direction) for r, direction in enumerate(make_job().random[2])}
    random = measure_evidence(llama, turns[:1], job=EvidenceJob("full", as_vectors, {}), batch_tokens=4096, seeds=[0])
    np.testing.assert_allclose((many.random_null_nr[2] ** 2).mean(axis=0), random.variance_nk[0], rtol=0.3)
    np.testing.assert_allclose(many.random_nr[2][0], random.score_nk[0], rtol=1e-4, atol=1e-4)


def test_neighbours_groups_and_budgets_change_nothing(llama: LoadedModel, padded: LoadedModel) -> None:
    expected = measure(llama, make_job())
    assert_close(measure(llama, make_job(), batch_tokens=1), expected, relative=1e-5)
    assert_close(measure(padded, make_job()), expected, relative=1e-5)
    with mock.patch.object(evidence, "GRAPH_BYTES", 1):
        assert_close(measure(llama, make_job()), expected, relative=1e-5)
    with mock.patch.object(tail, "LOGIT_BUDGET", 3 * llama.fingerprint.n_vocab):
        chunked = measure(llama, make_job())
    assert_close(chunked, expected, relative=1e-5)
    np.testing.assert_allclose(chunked.random_null_nr[2], expected.random_null_nr[2], rtol=1e-3, atol=1e-4)


@pytest.fixture
def without_derivatives() -> Iterator[None]:
    def find_way(model: LoadedModel, layer: int) -> Way:
        return Way(resumes=False, has_tangents=False, has_gradients=False)

    with mock.patch.object(evidence, "find_way", find_way):
        yield


@pytest.mark.usefixtures("without_derivatives")
@pytest.mark.parametrize("level", ["score", "full"])
def test_a_model_without_derivatives_gets_central_differences_and_no_random_band(level: str) -> None:
    model = load_model(model=str(model_path("gemma2")))
    found = measure(model, make_job(level))
    with mock.patch.object(evidence, "find_way", derivatives.find_way):
        expected = measure(model, make_job())
    assert_close(found, expected, relative=0.02)
    assert np.isnan(found.random_nr[2]).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_without_tangents_has_the_slopes_of_its_gradient(dtype: str) -> None:
    model = load_model(model=str(model_path("qwen2")), dtype=dtype)
    expected = measure(model, make_job())
    way = Way(resumes=True, has_tangents=False, has_gradients=True)
    with mock.patch.object(evidence, "find_way", return_value=way):
        found = measure(model, make_job())
    scale = np.sqrt(expected.variance_nk)
    np.testing.assert_allclose(
        found.score_nk / scale, expected.score_nk / scale, atol=1e-4 if dtype == "float32" else 0.1
    )
    np.testing.assert_allclose(found.variance_nk, expected.variance_nk, rtol=0.01 if dtype == "float32" else 0.4)
    np.testing.assert_allclose(found.random_nr[2], expected.random_nr[2])


def test_a_turn_that_does_not_fit_keeps_its_projections(llama: LoadedModel) -> None:
    turns, groups = draw_turns(llama)
    derive = evidence.EvidenceMeter._derive

    def refuse_long(self: evidence.EvidenceMeter, groups: Sequence[Group], *others: object) -> None:
        if any(position == 1 for group in groups for position in group.wanted):
            raise torch.OutOfMemoryError
        derive(self, groups, *others)  # type: ignore[arg-type]

    units = {"one": (2, np.eye(D_HIDDEN, dtype=np.float32)[0])}
    expected = measure(llama, make_job())
    meter = evidence.EvidenceMeter(llama, turns, make_job(), wanted=[0, 1, 2], seeds={0: 5, 1: 6, 2: 7}, groups=groups)
    with mock.patch.object(evidence.EvidenceMeter, "_derive", refuse_long):
        found = project_turns(llama, turns, units=units, batch_tokens=64, groups=groups, meter=meter)
    assert np.isfinite(found.projection_nk).all()
    assert np.isnan(meter.evidence.score_nk[1]).all()
    np.testing.assert_allclose(meter.evidence.score_nk[[0, 2]], expected.score_nk[[0, 2]], rtol=1e-4, atol=1e-4)


def test_projections_are_the_same_bits_with_evidence_and_without(llama: LoadedModel) -> None:
    turns, groups = draw_turns(llama)
    units = {trait: (layer, vector_d / np.linalg.norm(vector_d)) for trait, (layer, vector_d) in draw_vectors().items()}
    meter = evidence.EvidenceMeter(llama, turns, make_job(), wanted=[0, 1], seeds={0: 5, 1: 6}, groups=groups)
    plain = project_turns(llama, turns, units=units, batch_tokens=64, groups=groups)
    metered = project_turns(llama, turns, units=units, batch_tokens=64, groups=groups, meter=meter)
    np.testing.assert_array_equal(plain.projection_nk, metered.projection_nk)
    assert np.isnan(meter.evidence.score_nk[2]).all()
    np.testing.assert_allclose(meter.evidence.score_nk[:2], measure(llama, make_job()).score_nk[:2], rtol=1e-4)


def test_loss_and_surprise_are_those_of_the_distribution(llama: LoadedModel) -> None:
    found = measure(llama, make_job("score"))
    for n, turn in enumerate(draw_turns(llama)[0]):
        with torch.no_grad():
            logits = llama.module(torch.from_numpy(turn.ids.astype(np.int64))[None]).logits[0].double()
        log_p = torch.log_softmax(logits, dim=-1)[turn.start - 1 :]
        targets = [*turn.ids[turn.start :].tolist(), *([] if turn.end_id is None else [turn.end_id])]
        own = torch.stack([log_p[t, token] for t, token in enumerate(targets)])
        log_p = log_p[: len(targets)]
        entropy = -(log_p.exp() * log_p).sum(dim=-1)
        spread = (log_p.exp() * (log_p + entropy[:, None]) ** 2).sum()
        assert found.nll_n[n] == pytest.approx(float(-own[: turn.stop - turn.start].mean()), rel=1e-5)
        assert found.surprise_n[n] == pytest.approx(float((-own - entropy).sum()), abs=1e-3)
        assert found.surprise_variance_n[n] == pytest.approx(float(spread), rel=1e-4)


def test_steps_that_could_not_have_gone_another_way_have_no_variance() -> None:
    model = load_model(model=str(model_path("gpt_neox")))
    with torch.no_grad():
        model.module.get_output_embeddings().weight.copy_(torch.ones_like(model.module.get_output_embeddings().weight))
    found = measure(model, make_job())
    assert (found.variance_nk == 0).all()
    assert np.isfinite(found.score_nk).all()


def test_a_turn_without_a_step_is_left_unknown(llama: LoadedModel) -> None:
    alone = TokenizedTurn(np.array([3], dtype=np.int32), 0, 1, 0, truncated=True)
    start = TokenizedTurn(np.array([3, 4, 5], dtype=np.int32), 0, 3, 0, truncated=True)
    found = measure_evidence(llama, [alone, start], job=make_job(), batch_tokens=64, seeds=[0, 1])
    assert np.isnan(found.score_nk[0]).all()
    assert np.isfinite(found.score_nk[1]).all()


def test_what_overflows_in_a_narrow_type_is_measured_in_float32() -> None:
    half = load_model(model=str(model_path("llama")), dtype="bfloat16")
    expected = measure(half, make_job())
    nothing = evidence.EvidenceMeter.measure
    calls = 0

    def overflow_once(self: evidence.EvidenceMeter, states: dict[int, torch.Tensor]) -> None:
        nonlocal calls
        calls += 1
        is_narrow = next(iter(states.values())).dtype is torch.bfloat16
        scale = float("inf") if is_narrow else 1.0
        nothing(self, {position: own * scale for position, own in states.items()})

    with mock.patch.object(evidence.EvidenceMeter, "measure", overflow_once):
        found = measure(half, make_job())
    assert calls > 1
    scale = np.sqrt(expected.variance_nk)
    np.testing.assert_allclose(found.score_nk / scale, expected.score_nk / scale, atol=0.5)


def test_memory_that_runs_out_halves_the_batch(llama: LoadedModel) -> None:
    expected = measure(llama, make_job())
    derive = evidence.EvidenceMeter._derive

    def refuse_pairs(self: evidence.EvidenceMeter, groups: Sequence[object], *others: object) -> None:
        if len(groups) > 1:
            raise torch.OutOfMemoryError
        derive(self, groups, *others)  # type: ignore[arg-type]

    turns, _ = draw_turns(llama)
    with mock.patch.object(evidence.EvidenceMeter, "_derive", refuse_pairs):
        found = measure_evidence(llama, turns, job=make_job(), batch_tokens=4096, seeds=[5, 6, 7])
    assert_close(found, expected, relative=1e-5)


def test_nothing_stays_on_the_model(llama: LoadedModel) -> None:
    before = {name: value.clone() for name, value in llama.module.state_dict().items()}
    measure(llama, make_job())
    with (
        pytest.raises(ZeroDivisionError),
        mock.patch.object(evidence.LogitSteps, "pull", side_effect=ZeroDivisionError),
    ):
        measure(llama, make_job())
    for part in llama.module.modules():
        assert "forward" not in vars(part)
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
    assert all(torch.equal(value, before[name]) for name, value in llama.module.state_dict().items())
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in llama.module.parameters())


def test_a_model_that_is_loaded_in_part_is_refused() -> None:
    part = load_model(model=str(model_path("llama")), n_blocks=3)
    with pytest.raises(ModelError, match="only 3 of"):
        measure(part, make_job())
