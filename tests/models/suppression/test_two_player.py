from __future__ import annotations

import itertools
import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from support_toy import SIZE, toy
from torch import Tensor, nn

from src.errors import UserError
from src.models.suppression.adversarial import Adversarial, attack_loss, chance_loss
from src.models.suppression.learned import LearnedSuppressor
from src.models.suppression.sensitive_nets import SensitiveNets, constant_answer_loss
from src.models.suppression.two_player import TwoPlayer, triplet_loss

TRAIN, TEST = toy(40, 10), toy(40, 10, seed=1)


def accuracy(templates: Tensor) -> float:
    """Of a classifier of the genders of some people on those of others."""
    known = TEST.labels < 20
    values = nn.functional.normalize(templates)
    model = LogisticRegression(C=100, max_iter=1000).fit(values[known], TEST.attributes[known])
    return model.score(values[~known], TEST.attributes[~known])


class TestLosses:
    def test_the_constant_answer_by_hand(self) -> None:
        logits = torch.tensor([[0.0, 0.0], [math.log(9.0), 0.0]])
        expected = (math.log(1 + 0.4) + math.log(1 + 0.0)) / 2
        assert constant_answer_loss(logits, torch.tensor([0, 1])).item() == pytest.approx(expected, abs=1e-6)
        expected = (math.log(1 + 0.4) + math.log(1 + 0.8)) / 2
        found = constant_answer_loss(logits, torch.tensor([1, 0]), detected=1)
        assert found.item() == pytest.approx(expected, abs=1e-6)

    def test_chance_is_the_least_loss(self) -> None:
        attribute = torch.tensor([0, 1, 1])
        logits = torch.tensor([0.3, -1.0, 2.0])
        probability = torch.sigmoid(logits)
        entropy = -(torch.log(1 - probability[0]) + torch.log(probability[1]) + torch.log(probability[2])) / 3
        assert attack_loss(logits, attribute).item() == pytest.approx(entropy.item())
        assert chance_loss(logits, attribute).item() == pytest.approx(abs(entropy.item() - math.log(2)))
        assert chance_loss(torch.zeros(3), attribute).item() == pytest.approx(0, abs=1e-7)
        assert chance_loss(torch.tensor([-9.0, 9.0, 9.0]), attribute).item() == pytest.approx(math.log(2), abs=1e-3)

    def test_triplets_by_enumeration(self) -> None:
        generator = torch.Generator().manual_seed(0)
        template = torch.randn(9, 4, generator=generator)
        label = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3])
        unit = template / template.norm(dim=1, keepdim=True)
        violations = []
        for anchor, positive, negative in itertools.product(range(9), repeat=3):
            if anchor != positive and label[anchor] == label[positive] != label[negative]:
                near = (unit[anchor] - unit[positive]).square().sum()
                far = (unit[anchor] - unit[negative]).square().sum()
                violations += [float(near - far + 0.2)] if near - far + 0.2 > 0 else []
        assert triplet_loss(template, label).item() == pytest.approx(sum(violations) / len(violations), rel=1e-5)
        assert triplet_loss(template, torch.arange(9)).item() == 0


METHODS = {
    "softmax": SensitiveNets(weight=100.0, scale=16.0, epochs=30, batch_size=32),
    "triplet": SensitiveNets(recognition="triplet", epochs=30, batch_size=64),
    "adversarial": Adversarial(scale=16.0, epochs=30, batch_size=32),
}


@pytest.mark.parametrize("name", METHODS)
def test_gender_is_harder_to_tell_than_without_suppression(name: str) -> None:
    method = METHODS[name]
    method.fit(*TRAIN)
    assert accuracy(method.transform(TEST.embeddings)) < accuracy(TEST.embeddings) - 0.05


@pytest.mark.parametrize("make", [SensitiveNets, Adversarial])
def test_the_seed_decides(make: type[LearnedSuppressor]) -> None:
    templates = []
    for seed in (1, 1, 2):
        method = make(epochs=2, seed=seed)
        method.fit(*TRAIN)
        templates.append(method.transform(TEST.embeddings))
    assert torch.equal(templates[0], templates[1])
    assert not torch.equal(templates[0], templates[2])


def test_what_is_deployed_is_counted() -> None:
    sensitive, adversarial = SensitiveNets(epochs=1), Adversarial(epochs=1)
    sensitive.fit(*TRAIN)
    adversarial.fit(*TRAIN)
    assert sensitive.parameters == 4 * (SIZE * SIZE + SIZE)
    assert adversarial.parameters == 2 * (SIZE * SIZE + SIZE)


def test_networks_are_those_described() -> None:
    module, encoder = SensitiveNets().build(512, 7)
    assert isinstance(module, TwoPlayer)
    assert [layer.out_features for layer in encoder.modules() if isinstance(layer, nn.Linear)] == [512] * 4
    detector = [layer for layer in module.attacker.modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in detector] == [512, 512, 2]
    scaled = torch.randn(3, 512)
    assert torch.allclose(module.attacker(scaled), module.attacker(5 * scaled), atol=1e-5)
    attacker = Adversarial().build(512, 7)[0].attacker
    assert isinstance(attacker, nn.Module)
    assert [layer.out_features for layer in attacker.modules() if isinstance(layer, nn.Linear)] == [512, 256, 1]


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="softmax or triplet, found 'arcface'"):
        SensitiveNets(recognition="arcface")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="detected=2"):
        SensitiveNets(detected=2)
    with pytest.raises(UserError, match="epochs=0"):
        Adversarial(epochs=0)
