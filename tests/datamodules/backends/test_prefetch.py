from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from src.datamodules.backends.prefetch import map_in_order


def _threads() -> int:
    return sum(thread.name.startswith("decode") for thread in threading.enumerate())


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item == 0 else 0)
        return item * item

    assert list(map_in_order(slow_first, iter(range(20)), threads=threads, ahead=4)) == [i * i for i in range(20)]
    assert _threads() == 0


def test_works_ahead_but_not_further() -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in itertools.count():
            drawn.append(item)
            yield item

    results = map_in_order(lambda item: item, items(), threads=2, ahead=3)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(drawn) == 8
    results.close()


def test_threads_end_when_closed_or_left_by_an_exception() -> None:
    def fail_at_five(item: int) -> int:
        if item == 5:
            raise ValueError("five")
        return item

    results = map_in_order(fail_at_five, iter(range(100)), threads=2, ahead=3)
    next(results)
    assert 0 < _threads() <= 2
    results.close()
    assert _threads() == 0
    with pytest.raises(ValueError, match="five"):
        list(map_in_order(fail_at_five, iter(range(100)), threads=2, ahead=3))
    assert _threads() == 0
