"""Working ahead in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

__all__ = ["map_in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    function: Callable[[Item], Result], items: Iterator[Item], *, threads: int, ahead: int
) -> Generator[Result]:
    """Apply a function in threads and yield the results in the order of the items.

    The threads end when the generator does: exhausted, closed, or left by an exception.

    Args:
        function: Should release Python's lock for most of its time.
        items: Drawn in the calling thread, up to `ahead` before they are needed.
        threads: How many; with 0 the calling thread does the work when a result is asked for.
        ahead: Results that may be under way or ready.
    """
    if threads == 0:
        yield from map(function, items)
        return
    executor = ThreadPoolExecutor(threads, thread_name_prefix="decode")
    try:
        pending: deque[Future[Result]] = deque(executor.submit(function, item) for item in islice(items, ahead))
        while pending:
            result = pending.popleft().result()
            pending.extend(executor.submit(function, item) for item in islice(items, 1))
            yield result
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
