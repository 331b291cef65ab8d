from __future__ import annotations

import numpy as np
import pytest
import torch
from support_arcbifacegan import GOLDEN

from src.errors import UserError
from src.eval.generative import precision_recall
from src.eval.generative.precision_recall import precision_and_recall


def reference_features() -> tuple[torch.Tensor, torch.Tensor]:
    real = np.random.RandomState(30).randn(200, 16)
    generated = np.random.RandomState(31).randn(150, 16) * 1.1 + 0.1
    return torch.from_numpy(real), torch.from_numpy(generated)


def test_reference_values() -> None:
    assert precision_and_recall(*reference_features())._asdict() == pytest.approx(GOLDEN["metric.pr"])


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = precision_and_recall(*reference_features())
    monkeypatch.setattr(precision_recall, "_DISTANCES", 1000)
    assert precision_and_recall(*reference_features()) == expected


def test_a_single_repeated_face_is_precise_and_recalls_little() -> None:
    real = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    repeated = real[:1].repeat(50, 1)
    found = precision_and_recall(real, repeated)
    assert found.precision == 1
    assert found.recall == pytest.approx(1 / 200)


def test_noise_far_away_is_neither() -> None:
    real = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert precision_and_recall(real, real + 100) == (0, 0)
    assert precision_and_recall(real, real) == (1, 1)


def test_refuses_too_few() -> None:
    with pytest.raises(UserError, match="precision: expected 4 or more images of each kind, found 3 real, 9 generated"):
        precision_and_recall(torch.zeros(3, 2), torch.zeros(9, 2))
