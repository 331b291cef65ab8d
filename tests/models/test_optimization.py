from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from src.errors import UserError
from src.models.networks.iresnet import iresnet18
from src.models.optimization import cosine, parameter_groups, polynomial, step

GOLDEN = json.loads((Path(__file__).parents[1] / "parity/face_recognition_golden.json").read_text())["lr"]


def learning_rates(schedule: Callable[[SGD], LambdaLR], steps: int, base: float = 0.1) -> list[float]:
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=base)
    scheduler = schedule(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("power", [1, 2])
def test_golden_polynomial(power: int) -> None:
    expected = GOLDEN[f"ours_power{power}"]
    total, warmup = GOLDEN["total"], GOLDEN["warmup"]
    by_step = learning_rates(lambda o: polynomial(o, total, 1, warmup, power), total + 1, GOLDEN["base"])
    assert by_step == pytest.approx(expected, abs=1e-9)
    by_epoch = learning_rates(lambda o: polynomial(o, total, 10, warmup / 10, power), total + 1, GOLDEN["base"])
    assert by_epoch == by_step


def test_cosine_warms_up_and_ends_at_its_final_factor() -> None:
    rates = learning_rates(lambda o: cosine(o, 12, 1, warmup_epochs=2, final_factor=0.1), 14, base=1.0)
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[7] == pytest.approx(0.55)
    assert rates[12:] == pytest.approx([0.1, 0.1])


def test_step_divides_at_milestones_in_epochs() -> None:
    rates = learning_rates(lambda o: step(o, 12, 2, milestones=[2, 4.5], warmup_epochs=1), 12, base=1.0)
    assert rates == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


@pytest.mark.parametrize("schedule", [polynomial, cosine, lambda *a: step(*a[:3], [1], a[3])])
def test_a_run_within_its_warmup_only_rises(schedule: Callable[..., LambdaLR]) -> None:
    rates = learning_rates(lambda o: schedule(o, 5, 10, 1.0), 5, base=1.0)
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    with pytest.raises(UserError, match="warmup_epochs=-1"):
        learning_rates(lambda o: schedule(o, 5, 10, -1.0), 1, base=1.0)


def test_parameter_groups_exempt_norm_bias_and_slopes() -> None:
    network = iresnet18(16, 16)
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    (everything,) = parameter_groups(network)
    assert len(everything["params"]) == len(trainable)
    decayed, exempt = parameter_groups(network, decay_norm_and_bias=False)
    assert len(decayed["params"]) + len(exempt["params"]) == len(trainable)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim == 1 for parameter in exempt["params"])
    optimizer = SGD(parameter_groups(network, decay_norm_and_bias=False), lr=0.1, weight_decay=5e-4)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [5e-4, 0.0]
