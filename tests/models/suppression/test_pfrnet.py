from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_toy import toy
from torch import nn

from src.errors import UserError
from src.models.suppression.pfrnet import PfrNet, PfrNetModule, moment_losses

DATA = toy(20, 5)


def naive_moment_losses(independent: np.ndarray, dependent: np.ndarray, attribute: np.ndarray) -> tuple[float, float]:
    similarity = difference = 0.0
    for power in (1, 2):
        for code in (independent, dependent):
            female = [sum(row[j] ** power for row in code[attribute == 0]) for j in range(code.shape[1])]
            male = [sum(row[j] ** power for row in code[attribute == 1]) for j in range(code.shape[1])]
            gaps = [f / sum(attribute == 0) - m / sum(attribute == 1) for f, m in zip(female, male, strict=True)]
            if code is independent:
                similarity += sum(gap**2 for gap in gaps) / len(gaps)
            else:
                difference += sum(math.exp(-(gap**2)) for gap in gaps) / len(gaps)
    return similarity, difference


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_moment_losses_are_those_of_the_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    independent, dependent = rng.normal(0, 1, (12, 5)), rng.normal(1, 2, (12, 3))
    attribute = np.array([0, 1, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0])
    found = moment_losses(*(torch.from_numpy(array) for array in (independent, dependent, attribute)))
    assert [float(loss) for loss in found] == pytest.approx(naive_moment_losses(independent, dependent, attribute))


def test_one_gender_alone_has_no_moments_to_compare() -> None:
    codes = torch.randn(4, 3, requires_grad=True)
    assert [float(loss) for loss in moment_losses(codes, codes, torch.zeros(4).long())] == [0, 0]


def test_the_loss_is_reconstruction_and_weighted_moments() -> None:
    module = PfrNetModule(64, 0.3, 0.7, lr=1e-4)
    batch = {"feature": DATA.embeddings, "attribute": DATA.attributes, "label": DATA.labels}
    independent, dependent = module.encoder(DATA.embeddings), module.dependent_encoder(DATA.embeddings)
    decoded = module.decoder(torch.cat([independent, dependent], 1))
    similarity, difference = moment_losses(independent, dependent, DATA.attributes)
    expected = (decoded - DATA.embeddings).square().mean() + 0.3 * similarity + 0.7 * difference
    assert module.training_step(batch, 0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_layers_are_those_of_the_paper() -> None:
    module = PfrNetModule(512, 0.01, 0.01, lr=1e-4)

    def outputs(network: nn.Module) -> list[int]:
        return [layer.out_features for layer in network.modules() if isinstance(layer, nn.Linear)]

    assert outputs(module.encoder) == [512, 512, 512, 496]
    assert outputs(module.dependent_encoder) == [256, 128, 64, 16]
    assert outputs(module.decoder) == [512, 512, 512, 512]
    first = module.encoder[0]
    assert first.weight.abs().max().item() == pytest.approx(math.sqrt(3 / 512), rel=1e-3)
    assert first.weight.std().item() == pytest.approx(1 / math.sqrt(512), rel=0.02)
    assert not first.bias.any()
    assert isinstance(module.encoder[-1], nn.Linear)


def test_the_template_is_the_independent_code() -> None:
    embeddings = torch.nn.functional.normalize(torch.randn(40, 512))
    method = PfrNet(epochs=1, batch_size=20)
    method.fit(embeddings, torch.arange(40) % 2, torch.arange(40))
    assert method.transform(embeddings).shape == (40, 496)
    assert method.parameters == 3 * (512 * 512 + 512) + 512 * 496 + 496


def test_training_brings_the_genders_together_and_is_repeatable() -> None:
    def gap(method: PfrNet) -> float:
        templates = method.transform(DATA.embeddings)
        means = [templates[DATA.attributes == code].mean(0) for code in (0, 1)]
        return float((means[0] - means[1]).norm() / templates.std())

    short, long, again = (PfrNet(epochs=count, lr=1e-3, similarity_weight=1.0) for count in (1, 25, 25))
    for method in (short, long, again):
        method.fit(*DATA)
    assert gap(long) < 0.5 * gap(short)
    assert torch.equal(long.transform(DATA.embeddings), again.transform(DATA.embeddings))


def test_short_embeddings_are_refused() -> None:
    with pytest.raises(UserError, match="at least 32 values, found 16"):
        PfrNet().check(100, 16)
    with pytest.raises(UserError, match="batch_size=100: there are 99 embeddings"):
        PfrNet().check(99, 512)
