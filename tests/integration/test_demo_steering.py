"""Added to the demo model, a bundled vector brings its trait out; taken away, it calms it; a random direction does not.

Pairs: demo.steering-extract.asking, extract.asking-model.steer. All figures: `python -m audit.demo.steering`.
"""

from __future__ import annotations

import pytest

from audit.assets import demo_model_dir, demo_vectors_dir
from audit.demo import steering
from audit.model.load import load_model
from audit.vectors import load_vectors


def test_a_vector_steers_and_random_directions_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "N_VALIDATION", 30)
    monkeypatch.setattr(steering, "ALPHAS", (2.0, 3.0))
    vectors = load_vectors([str(demo_vectors_dir())])
    model = load_model(model=str(demo_model_dir()))
    (found,) = steering.measure_steering(model, {"evil": vectors["evil"]}, n_test=100, n_random=2)
    assert found.steered_rate >= found.base_rate + 0.15
    assert found.steered_rate >= 2 * sum(found.random_rates) / 2
    assert found.suppressed_low > 0
    assert found.prompted_rate - found.suppressed_rate == pytest.approx(
        (found.suppressed_low + found.suppressed_high) / 2
    )
    # What was chosen is the best of what was tried on the validation questions.
    best = max(found.validation.values())
    assert found.validation[f"{found.layer} {found.alpha:g}"] == best
    assert not any(block._forward_hooks for block in model.blocks)
