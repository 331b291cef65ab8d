from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from support_arcbifacegan import GOLDEN

from src.errors import UserError
from src.eval.generative.inception_score import inception_score


def test_reference_values() -> None:
    probabilities = np.random.RandomState(32).rand(100, 5)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert inception_score(torch.from_numpy(probabilities).log()) == pytest.approx(GOLDEN["metric.is"], rel=1e-12)


def test_between_one_and_the_number_of_classes() -> None:
    sure = 100.0 * F.one_hot(torch.arange(40) % 4).double()
    assert inception_score(sure, splits=5) == pytest.approx((4, 0))
    assert inception_score(sure[:1].repeat(40, 1)) == pytest.approx((1, 0))
    assert inception_score(torch.zeros(40, 4)) == pytest.approx((1, 0))


def test_impossible_classes_do_not_count() -> None:
    logits = torch.tensor([[0.0, 200.0, -2000.0], [200.0, 0.0, -2000.0]]).repeat(10, 1)
    assert inception_score(logits) == pytest.approx((2, 0))


def test_refuses_fewer_images_than_splits() -> None:
    with pytest.raises(UserError, match="inception_score: expected 10 or more images of each kind, found 9 generated"):
        inception_score(torch.zeros(9, 4))
