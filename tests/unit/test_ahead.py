"""A thread works one step ahead; nobody can tell from order, errors or what is left."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from audit.ahead import iterate_ahead

PATIENCE_S = 10.0


def names_of_threads() -> set[str]:
    return {thread.name.partition("_")[0] for thread in threading.enumerate()}


def test_items_come_in_order_and_the_thread_ends_with_them() -> None:
    assert list(iterate_ahead(iter(range(200)))) == list(range(200))
    assert list(iterate_ahead(iter([]))) == []
    assert "ahead" not in names_of_threads()


def test_the_next_item_is_made_while_one_is_worked_on() -> None:
    made = [threading.Event() for _ in range(3)]

    def make() -> Iterator[int]:
        for n, event in enumerate(made):
            event.set()
            yield n

    for n in iterate_ahead(make()):
        assert all(event.wait(PATIENCE_S) for event in made[: n + 2])
        # One ahead and no more: a block is memory.
        assert not any(event.is_set() for event in made[n + 2 :])


def test_an_error_comes_where_its_item_would_have_come() -> None:
    def make() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("the third cannot be read")

    ahead = iterate_ahead(make())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(ahead)
    assert "ahead" not in names_of_threads()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whoever_stops_early_leaves_neither_thread_nor_open_source(error: type[BaseException]) -> None:
    closed = threading.Event()

    def make() -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.set()

    items = make()

    def stop_early() -> None:
        with closing(iterate_ahead(items)) as ahead:
            assert [next(ahead) for _ in range(4)] == [0, 1, 2, 3]
            raise error

    with pytest.raises(error):
        stop_early()
    assert "ahead" not in names_of_threads()
    assert next(items) <= 5
    items.close()
    assert closed.is_set()
