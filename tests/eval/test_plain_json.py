from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.eval.plain_json import from_json
from src.eval.score import HardPair, ScoreCurves, ScoreHistogram


@dataclass(frozen=True)
class Inner:
    size: int
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outer:
    inner: Inner
    ends: tuple[float, float | None]
    rates: dict[str, float]
    anything: Any = None


VALUE = {"inner": {"size": 3}, "ends": [1, None], "rates": {"a": 0.5}, "anything": {"x": [True]}}

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
RATES = st.lists(NUMBERS)
PAIRS = st.lists(st.builds(HardPair, st.integers(0), st.integers(0), NUMBERS))
CURVES = st.builds(
    ScoreCurves,
    roc=st.none() | st.tuples(RATES, RATES),
    open_set=st.none() | st.tuples(RATES, RATES),
    cmc=RATES,
    fold_accuracies=RATES,
    histogram=st.none()
    | st.builds(ScoreHistogram, RATES, st.lists(st.integers(0)), st.lists(st.integers(0)), st.none() | NUMBERS),
    false_matches=PAIRS,
    false_non_matches=PAIRS,
)


def test_nested_values() -> None:
    expected = Outer(Inner(3), (1, None), {"a": 0.5}, {"x": [True]})
    assert from_json(Outer, VALUE) == expected


def test_keys_of_a_newer_version_are_passed_over() -> None:
    assert from_json(Inner, {"size": 1, "colour": "red"}) == Inner(1)


@given(CURVES)
def test_curves_survive_json(curves: ScoreCurves) -> None:
    assert from_json(ScoreCurves, json.loads(json.dumps(asdict(curves)))) == curves


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner": {}}, "inner.size: missing"),
        ({"inner": None}, "inner: expected an object, found null"),
        ({"inner": {"size": 1.5}}, "inner.size: expected a whole number, found a number"),
        ({"inner": {"size": True}}, "inner.size: expected a whole number, found true or false"),
        ({"inner": {"size": 1, "names": ["a", 2]}}, r"inner\.names\[1\]: expected a text, found a whole number"),
        ({"ends": [1]}, "ends: expected 2 entries, found 1"),
        ({"ends": 1}, "ends: expected a list, found a whole number"),
        ({"rates": {"a": "0.5"}}, "rates.a: expected a number, found a text"),
        ({"rates": {"a": float("inf")}}, "rates.a: expected a finite number"),
    ],
)
def test_names_the_key_that_is_wrong(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json(Outer, VALUE | change)


def test_names_the_whole() -> None:
    with pytest.raises(ValueError, match="the whole: expected an object, found a list"):
        from_json(Outer, [])
