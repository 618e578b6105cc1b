"""Work that a thread does one step ahead of whoever waits for it. Knows nothing of what the work is."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, cast

_T = TypeVar("_T")


def iterate_ahead(items: Iterator[_T]) -> Generator[_T, None, None]:
    """Yield what `items` yields, in order, while a thread already asks it for the next one.

    An exception of `items` comes where its item would have come. Close the iterator to be rid of the thread.
    """
    end = object()
    with ThreadPoolExecutor(1, "ahead") as thread:
        upcoming: Future[_T | object] = thread.submit(next, items, end)
        while (item := upcoming.result()) is not end:
            upcoming = thread.submit(next, items, end)
            yield cast(_T, item)
