from __future__ import annotations

from functools import partial
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from support_toy import SIZE, toy
from torch import Tensor
from torch.nn import functional

from src.losses.gender_angular import GenderAngularLoss
from src.losses.heads import ArcFaceHead
from src.models.networks.privacy_layer import PrivacyLayer
from src.models.suppression.angular import Angular

TRAIN, TEST = toy(80, 10), toy(60, 10, seed=100)


def angular(alpha: float, beta: float, **options: Any) -> Angular:
    head = partial(ArcFaceHead, margin=0.0, scale=64.0, margin_gradient="exact")
    return Angular(
        PrivacyLayer,
        partial(GenderAngularLoss, head=head, alpha=alpha, beta=beta),
        partial(torch.optim.Adam, lr=0.01),
        **{"epochs": 50, **options},
    )


def accuracy(templates: Tensor) -> float:
    known = TEST.labels < 30
    values = functional.normalize(templates)
    return (
        LogisticRegression().fit(values[known], TEST.attributes[known]).score(values[~known], TEST.attributes[~known])
    )


def test_the_angles_hide_gender_and_without_them_it_stays() -> None:
    """300 steps of batch 128, as in section 6 of the specification."""
    protected, plain = angular(20.0, 1.0), angular(0.0, 0.0)
    protected.fit(*TRAIN)
    plain.fit(*TRAIN)
    assert accuracy(plain.transform(TEST.embeddings)) > 0.9
    assert accuracy(protected.transform(TEST.embeddings)) < accuracy(plain.transform(TEST.embeddings)) - 0.25
    assert protected.parameters == 2 * (SIZE * SIZE + SIZE)


def test_the_seed_decides() -> None:
    templates = []
    for seed in (1, 1, 2):
        method = angular(20.0, 1.0, epochs=2, seed=seed)
        method.fit(*TRAIN)
        templates.append(method.transform(TEST.embeddings))
    assert torch.equal(templates[0], templates[1])
    assert not torch.equal(templates[0], templates[2])
