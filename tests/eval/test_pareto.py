from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from src.eval.pareto import pareto_front
from src.eval.results import Results
from src.eval.score import BenchmarkScore


def row(label: str, error: float, attack: float) -> Results:
    score = BenchmarkScore({"eer": error}, privacy={"bacc": attack})
    return Results("demo", label, None, 1.0, {}, {"gender": score})


def test_rows_that_no_other_beats() -> None:
    rows = [
        row("backbone", 0.02, 0.95),
        row("worse in both", 0.10, 0.80),
        row("private", 0.09, 0.55),
        row("between", 0.05, 0.70),
        row("as private but worse", 0.12, 0.55),
    ]
    assert pareto_front(rows, "gender") == ["backbone", "between", "private"]


def test_below_chance_is_chance() -> None:
    assert pareto_front([row("a", 0.05, 0.50), row("b", 0.06, 0.45)], "gender") == ["a"]


def test_equal_rows_are_on_the_front_together_and_unknown_ones_are_not() -> None:
    rows = [row("a", 0.05, 0.6), row("b", 0.05, 0.6), row("c", math.nan, 0.5), row("d", 0.0, math.nan)]
    assert pareto_front(rows, "gender") == ["a", "b"]
    assert pareto_front(rows, "other") == []


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(5, 10)), min_size=1, max_size=20))
def test_each_row_is_on_the_front_or_beaten_by_one_that_is(points: list[tuple[int, int]]) -> None:
    rows = [row(str(i), error / 10, attack / 10) for i, (error, attack) in enumerate(points)]
    front = {int(label) for label in pareto_front(rows, "gender")}
    assert front
    for i, point in enumerate(points):
        beaten_by = [
            j
            for j, other in enumerate(points)
            if other != point and all(a <= b for a, b in zip(other, point, strict=True))
        ]
        assert (i in front) == (not beaten_by)
        assert i in front or front & set(beaten_by)
