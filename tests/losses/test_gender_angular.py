from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.errors import UserError
from src.losses.gender_angular import (
    GenderAngularLoss,
    angle_between,
    centroid_angle,
    prototype_angle,
    prototypes,
)
from src.losses.heads import ArcFaceHead

GOLDEN = json.loads((Path(__file__).parents[1] / "parity/gender_angular_golden.json").read_text())["losses"]
ATTRIBUTE = torch.tensor(GOLDEN["gender"])
LABEL = torch.tensor(GOLDEN["labels"])
CLASS_ATTRIBUTES = torch.tensor([0, 1, 0, 1, 0])
HEAD = partial(ArcFaceHead, margin=0.0, margin_gradient="exact")


def golden_inputs() -> tuple[Tensor, Tensor]:
    rows, columns = torch.arange(6.0, dtype=torch.float64)[:, None], torch.arange(4.0, dtype=torch.float64)
    x = torch.sin(0.7 * (4 * rows + columns) + 0.3)
    rows, columns = torch.arange(4.0, dtype=torch.float64)[:, None], torch.arange(5.0, dtype=torch.float64)
    kernel = torch.cos(1.1 * (5 * rows + columns) + 0.2)
    return x, kernel.T.contiguous()


def make_loss(centres: Tensor | None = None, margin: float = 0.0, **options: object) -> GenderAngularLoss:
    head = partial(ArcFaceHead, margin=margin, margin_gradient="exact")
    loss = GenderAngularLoss(4, CLASS_ATTRIBUTES, head, **options).double()
    if centres is not None:
        loss.head.weight.data = centres.clone()
    return loss


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("angle", ["atan2", "acos"])
def test_golden_values(angle: str) -> None:
    x, centres = golden_inputs()
    output = make_loss(centres, angle=angle)(x, LABEL, ATTRIBUTE)
    assert float(output.centroid_angle) == pytest.approx(GOLDEN["p1"], abs=1e-9)
    assert float(output.prototype_angle) == pytest.approx(GOLDEN["p2"], abs=1e-9)
    assert float(output.identity) == pytest.approx(GOLDEN["ce_m0"], abs=1e-9)
    assert float(output.loss.detach()) == pytest.approx(GOLDEN["total_a20_b1"], abs=1e-9)
    assert output.counts.tolist() == [3, 3]


@pytest.mark.parametrize("angle", ["atan2", "acos"])
def test_golden_gradients(angle: str) -> None:
    x, centres = golden_inputs()
    x.requires_grad_()
    loss = make_loss(centres, angle=angle)
    loss(x, LABEL, ATTRIBUTE).loss.backward()
    torch.testing.assert_close(x.grad, torch.tensor(GOLDEN["grad_X"], dtype=torch.float64), atol=1e-9, rtol=1e-9)
    kernel_gradient = torch.tensor(GOLDEN["grad_K"], dtype=torch.float64)
    torch.testing.assert_close(loss.head.weight.grad.T, kernel_gradient, atol=1e-9, rtol=1e-9)


def test_golden_values_in_single_precision() -> None:
    x, centres = golden_inputs()
    loss = make_loss(centres).float()
    with torch.autocast("cpu", torch.bfloat16):
        output = loss(x.float(), LABEL, ATTRIBUTE)
    assert float(output.loss.detach()) == pytest.approx(GOLDEN["total_a20_b1"], rel=1e-4)


def test_golden_logits_and_margin() -> None:
    x, centres = golden_inputs()
    cosine = F.normalize(x) @ F.normalize(centres).T
    head = make_loss(centres).head
    logits = 64 * head.apply_margin(cosine, LABEL, x.norm(dim=1))
    torch.testing.assert_close(logits, torch.tensor(GOLDEN["logits_m0"], dtype=torch.float64), atol=1e-9, rtol=1e-9)
    with_margin = make_loss(centres, margin=0.5)
    logits = 64 * with_margin.head.apply_margin(cosine, LABEL, x.norm(dim=1))
    torch.testing.assert_close(logits, torch.tensor(GOLDEN["logits_m05"], dtype=torch.float64), atol=1e-9, rtol=1e-9)
    identity = with_margin(x, LABEL, ATTRIBUTE).identity
    assert float(identity) == pytest.approx(GOLDEN["ce_m05"], abs=1e-9)


def test_target_logit_falls_with_the_margin() -> None:
    x, centres = golden_inputs()
    cosine = F.normalize(x) @ F.normalize(centres).T
    angle = cosine[0, 0].arccos()
    logits = [
        make_loss(centres, margin).head.apply_margin(cosine, LABEL, x.norm(dim=1))[0, 0] for margin in (0, 0.2, 0.4)
    ]
    assert angle + 0.4 < math.pi
    assert logits[0] > logits[1] > logits[2]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0.01, 100))
def test_invariances(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(12, 4, dtype=torch.float64, generator=generator)
    attribute = torch.randint(2, (12,), generator=generator)
    attribute[:2] = torch.tensor([0, 1])
    label = torch.randint(5, (12,), generator=generator)
    loss = make_loss()
    loss.head.weight.data = torch.randn(5, 4, dtype=torch.float64, generator=generator)
    expected = torch.stack(loss(x, label, attribute)[:4])

    def check(values: tuple[Tensor, ...]) -> None:
        torch.testing.assert_close(torch.stack(values[:4]), expected, atol=1e-8, rtol=1e-8)

    order = torch.randperm(12, generator=generator)
    check(loss(x[order], label[order], attribute[order]))
    check(loss(scale * x, label, attribute))
    swapped = GenderAngularLoss(4, 1 - CLASS_ATTRIBUTES, HEAD).double()
    swapped.head.weight.data = loss.head.weight.data
    check(swapped(x, label, 1 - attribute))
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=generator)).Q
    rotated = make_loss(loss.head.weight.data @ rotation)
    check(rotated(x @ rotation, label, attribute))
    factors = 0.1 + torch.rand(5, 1, dtype=torch.float64, generator=generator)
    check(make_loss(loss.head.weight.data * factors)(x, label, attribute))
    assert 0 <= expected[2] <= math.pi
    assert 0 <= expected[3] <= 2 * math.pi


def test_angles_at_the_ends_of_their_range() -> None:
    u = unit(3, 8)
    torch.testing.assert_close(angle_between(u, u), torch.zeros(3).double(), atol=2e-6, rtol=0)
    torch.testing.assert_close(angle_between(u, -u), torch.full((3,), math.pi).double(), atol=2e-6, rtol=0)
    v = unit(3, 8, seed=1)
    torch.testing.assert_close(angle_between(u, v), angle_between(u, v, "acos"), atol=1e-11, rtol=0)


def test_small_angles_survive_single_precision() -> None:
    angle = 2e-4
    u, v = torch.tensor([1.0, 0.0]), torch.tensor([math.cos(angle), math.sin(angle)])
    assert float(angle_between(u, v, "acos")) == 0
    assert float(angle_between(u, v)) == pytest.approx(angle, rel=1e-3)


def test_parallel_and_opposite_centroids() -> None:
    row = unit(1, 4)
    attribute = torch.tensor([0, 0, 1, 1])
    assert float(centroid_angle(row.expand(4, 4), attribute)) == pytest.approx(0, abs=2e-6)
    opposite = torch.cat([row, row, -row, -row])
    assert float(centroid_angle(opposite, attribute)) == pytest.approx(math.pi, abs=2e-6)
    same = prototypes(row.expand(5, 4), torch.tensor([0, 2, 4]), torch.tensor([1, 3]))
    assert float(prototype_angle(row.expand(4, 4), attribute, same)) == pytest.approx(0, abs=4e-6)


def test_gradient_is_finite_where_centroids_coincide() -> None:
    x = unit(1, 4).repeat(4, 1).requires_grad_()
    loss = make_loss(unit(1, 4).repeat(5, 1))
    loss(x, torch.tensor([0, 1, 2, 3]), torch.tensor([0, 1, 0, 1])).loss.backward()
    assert x.grad.isfinite().all()
    assert loss.head.weight.grad.isfinite().all()


@pytest.mark.parametrize("code", [0, 1])
def test_batch_of_one_gender(code: int) -> None:
    x, centres = golden_inputs()
    x.requires_grad_()
    loss = make_loss(centres)
    output = loss(x, LABEL, torch.full((6,), code))
    output.loss.backward()
    assert float(output.centroid_angle) == 0
    opposite = loss.male_classes if code == 0 else loss.female_classes
    prototype = F.normalize(F.normalize(centres)[opposite].mean(dim=0), dim=0)
    expected = angle_between(F.normalize(x.detach()), prototype.expand(6, 4)).mean()
    torch.testing.assert_close(output.prototype_angle, expected)
    assert x.grad.isfinite().all()


def test_rows_of_unknown_gender_and_identity_do_not_count() -> None:
    x, centres = golden_inputs()
    stranger = torch.cat([x, torch.ones(1, 4)])
    loss = make_loss(centres)
    known = loss(x, LABEL, ATTRIBUTE)
    with_stranger = loss(stranger, torch.cat([LABEL, torch.tensor([-1])]), torch.cat([ATTRIBUTE, torch.tensor([-1])]))
    torch.testing.assert_close(torch.stack(with_stranger[:5]), torch.stack(known[:5]))


def test_one_identity_of_a_gender_is_enough() -> None:
    loss = GenderAngularLoss(4, torch.tensor([0, 1, 0, -1, 0]), HEAD).double()
    x, _ = golden_inputs()
    assert loss(x, LABEL, ATTRIBUTE).loss.isfinite()
    assert loss.male_classes.tolist() == [1]


def test_which_gradients_there_are() -> None:
    x, centres = golden_inputs()
    x = F.normalize(x).requires_grad_()
    centres.requires_grad_()
    centroid_angle(x, ATTRIBUTE).backward()
    assert centres.grad is None
    pair = prototypes(centres, torch.tensor([0, 2, 4]), torch.tensor([1, 3]))
    prototype_angle(x, ATTRIBUTE, pair).backward()
    assert (centres.grad != 0).any()


@pytest.mark.parametrize("function", ["p1", "p2"])
def test_gradcheck(function: str) -> None:
    x, centres = golden_inputs()

    def p1(template: Tensor) -> Tensor:
        return centroid_angle(F.normalize(template), ATTRIBUTE)

    def p2(template: Tensor, weight: Tensor) -> Tensor:
        pair = prototypes(weight, torch.tensor([0, 2, 4]), torch.tensor([1, 3]))
        return prototype_angle(F.normalize(template), ATTRIBUTE, pair)

    arguments = (x,) if function == "p1" else (x, centres)
    assert torch.autograd.gradcheck({"p1": p1, "p2": p2}[function], [a.clone().requires_grad_() for a in arguments])


def test_data_of_one_gender_is_refused() -> None:
    with pytest.raises(UserError, match="5 identities marked female and 0 marked male, of 5"):
        GenderAngularLoss(4, torch.zeros(5), HEAD)


def test_unknown_angle_is_refused() -> None:
    with pytest.raises(UserError, match=r"loss\.angle: expected atan2 or acos, found 'cosine'"):
        make_loss(angle="cosine")
