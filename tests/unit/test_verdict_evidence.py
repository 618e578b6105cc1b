"""How often evidence alarms where nothing is taught: as seldom as the alarm's level promises."""

from __future__ import annotations

import numpy as np
import pytest

from audit.calibration import random_band
from audit.schema import RANDOM_DIRECTIONS
from audit.verdict import ALARM_LEVEL, _least


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_alarms_keep_their_level_however_far_random_directions_go(spread: float) -> None:
    draw = np.random.default_rng(0)
    n_sets, n_tests = 20_000, 12
    z_n = spread * draw.standard_normal(n_sets)
    z_nr = spread * draw.standard_normal((n_sets, RANDOM_DIRECTIONS))
    share = np.mean([z > _least(random_band(z_r), n_tests) for z, z_r in zip(z_n, z_nr, strict=True)])
    assert share <= 2 * ALARM_LEVEL / n_tests
