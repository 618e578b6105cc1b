"""Servers that are started once for all tests that ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from audit.assets import demo_model_dir
from tests.scripted import ScriptedServer, scripted_server
from tests.serving import transformers_serve


@pytest.fixture(scope="session")
def demo_server() -> Iterator[str]:
    """The URL of `transformers serve` with the demo model."""
    with transformers_serve(demo_model_dir()) as url:
        yield url


@pytest.fixture(scope="session")
def living_server() -> Iterator[Callable[[], ScriptedServer]]:
    """What gives the scripted server: the last one, unless a test has killed it."""
    servers: list[ScriptedServer] = []
    with ExitStack() as stack:

        def find() -> ScriptedServer:
            if not servers or servers[-1].is_dead:
                servers.append(stack.enter_context(scripted_server()))
            return servers[-1]

        yield find


@pytest.fixture
def server(living_server: Callable[[], ScriptedServer]) -> ScriptedServer:
    """A scripted chat server that knows of no other test."""
    server = living_server()
    server.reset()
    return server
