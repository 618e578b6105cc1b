"""Tests of the model room run on one thread."""

from __future__ import annotations

import pytest

from tests import models

one_thread = models.one_thread


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Use `one_thread` everywhere in this folder."""
