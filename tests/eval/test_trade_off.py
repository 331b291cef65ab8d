from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.eval.trade_off import TRADE_OFF, privacy_identity_coefficient, trade_off

GOLDEN = json.loads((Path(__file__).parents[1] / "parity" / "gender_angular_golden.json").read_text())["pic"]
RATES = st.floats(0.01, 0.99)


@pytest.mark.parametrize(("pre_eer", "post_eer", "pre_bacc", "post_bacc", "expected"), GOLDEN)
def test_published_numbers(pre_eer: float, post_eer: float, pre_bacc: float, post_bacc: float, expected: float) -> None:
    assert privacy_identity_coefficient(pre_eer, post_eer, pre_bacc, post_bacc) == pytest.approx(expected, abs=1e-9)


@given(RATES, RATES)
def test_nothing_done_nothing_gained(eer: float, bacc: float) -> None:
    values = trade_off(eer, eer, bacc, bacc)
    assert tuple(values) == TRADE_OFF
    assert all(value == 0 or math.isnan(value) for value in values.values())


@given(RATES, RATES, RATES, RATES, RATES)
def test_better_is_higher(pre_eer: float, post_eer: float, pre_bacc: float, post_bacc: float, better: float) -> None:
    before = privacy_identity_coefficient(pre_eer, post_eer, pre_bacc, post_bacc)
    assert privacy_identity_coefficient(pre_eer, better * post_eer, pre_bacc, post_bacc) >= before
    assert privacy_identity_coefficient(pre_eer, post_eer, pre_bacc, better * post_bacc) >= before


def test_suppression_is_the_share_of_the_advantage_that_is_gone() -> None:
    assert trade_off(0.1, 0.1, 0.9, 0.5)["suppression_rate"] == pytest.approx(1)
    assert trade_off(0.1, 0.1, 0.9, 0.8)["suppression_rate"] == pytest.approx(0.25)


def test_zero_denominators_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        values = trade_off(0.0, 0.02, 1.0, 0.6)
    assert {name for name, value in values.items() if math.isnan(value)} == {"pic", "privacy_gain", "identity_loss"}
    assert values["pic_regularised"] == pytest.approx(0.4 / 0.01 - 0.02 / 0.01)
    assert len(caplog.records) == 2
    assert math.isnan(trade_off(0.1, 0.1, 0.5, 0.5)["suppression_rate"])
