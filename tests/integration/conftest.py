"""A real server, started once for all tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from audit.assets import demo_model_dir
from tests.serving import transformers_serve


@pytest.fixture(scope="session")
def demo_server() -> Iterator[str]:
    """The URL of `transformers serve` with the demo model."""
    with transformers_serve(demo_model_dir()) as url:
        yield url
