from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.errors import UserError
from src.losses import triplet
from src.losses.triplet import (
    LOSSES,
    batch_all_arc_triplet,
    batch_all_triplet,
    batch_hard_arc_triplet,
    batch_hard_triplet,
    hardest,
    ms_loss,
    pairwise_angle,
    semihard_triplet,
)

LABEL = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])


def golden_codes() -> Tensor:
    i = torch.arange(8, dtype=torch.float64)[:, None]
    j = torch.arange(6, dtype=torch.float64)
    return 3.5 + 3.5 * torch.sin(0.7 * i + 1.3 * j + 0.1 * i * j)


def draw(seed: int, size: int = 9, m: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    code = 7 * torch.rand(size, m, dtype=torch.float64, generator=generator)
    label = torch.randint(4, (size,), generator=generator)
    label[:2] = torch.tensor([0, 1])
    return code, label


@pytest.mark.parametrize(
    ("name", "options", "value", "gradient"),
    [
        ("batch_hard_triplet", {"margin": 1.0}, 2.3584534551, 0.9139009049),
        ("batch_hard_triplet", {"margin": 10.0}, 10.9926255148, 1.0113928136),
        ("batch_all_triplet_loss", {"margin": 1.0}, 178.5631694311, 93.1298605377),
        ("semihard_triplet_loss", {"margin": 1.0}, 34.1175184970, 18.9862386491),
        ("batch_all_arc_triplet_loss", {"angle": "parity"}, 28.6011008858, 0.7680330043),
        ("batch_all_arc_triplet_loss", {"angle": "parity", "margin": 0.5}, 27.8289626507, 0.7523183492),
        ("batch_all_arc_triplet_loss", {}, 28.7858127644, None),
        ("batch_all_arc_triplet_loss", {"margin": 0.5}, 27.9417296181, None),
        ("batch_hard_arc_triplet_loss", {"angle": "parity", "minimize_dist": False}, 268.4363449330, 10.1396200397),
        ("batch_hard_arc_triplet_loss", {"angle": "parity"}, 269.1516231859, 10.1945678869),
        ("batch_hard_arc_triplet_loss", {"angle": "parity", "margin": 0.5}, 264.9367607986, 11.5814195414),
        ("batch_hard_arc_triplet_loss", {"minimize_dist": False}, 266.6449067253, None),
        ("batch_hard_arc_triplet_loss", {}, 267.3693549753, None),
        ("batch_hard_arc_triplet_loss", {"minimize_dist": False, "margin": 0.5}, 260.4112326390, None),
        ("batch_hard_arc_triplet_loss", {"margin": 0.5}, 261.1356808890, None),
    ],
)
def test_golden_values_and_gradients(
    name: str, options: dict[str, object], value: float, gradient: float | None
) -> None:
    code = golden_codes().requires_grad_()
    loss = LOSSES[name](code, LABEL, **options)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(value, abs=1e-9)
    assert code.grad is not None
    if gradient is not None:
        assert float(code.grad.norm()) == pytest.approx(gradient, rel=1e-9)


@pytest.mark.parametrize(
    ("angle", "row"),
    [
        ("parity", [4.47e-4, 0.704422, 0.959450, 1.117496, 1.063971, 0.654949, 0.575070, 0.632685]),
        ("fixed", [4.47e-4, 0.500733, 0.843366, 1.094292, 1.111059, 0.812909, 0.581770, 0.574085]),
    ],
)
def test_golden_angles(angle: triplet.Angle, row: list[float]) -> None:
    assert pairwise_angle(golden_codes(), angle)[0].tolist() == pytest.approx(row, abs=1e-6)


def test_the_angle_of_the_reference_is_not_symmetric() -> None:
    parity, fixed = pairwise_angle(golden_codes(), "parity"), pairwise_angle(golden_codes())
    assert float((parity - parity.T).abs().max()) == pytest.approx(0.70, abs=5e-3)
    assert torch.equal(fixed, fixed.T)
    assert float(parity.min()) == pytest.approx(4.47e-4, abs=1e-6)


def brute_force(name: str, code: Tensor, label: Tensor, margin: float) -> float:
    """Loops over triplets, from the formulas."""
    squared = [[float((a - b).square().sum()) for b in code] for a in code]
    angle = pairwise_angle(code).tolist()
    rows = range(len(label))
    positive = [[p for p in rows if p != a and label[p] == label[a]] for a in rows]
    negative = [[n for n in rows if label[n] != label[a]] for a in rows]
    triplets = [(a, p, n) for a in rows for p, n in itertools.product(positive[a], negative[a])]

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    def push(x: float) -> float:
        return sigmoid(math.cos(x + margin) - math.sin(x))

    def pull(x: float) -> float:
        return sigmoid(math.sin(x + margin) - math.cos(x))

    if name == "batch_hard_triplet":
        far = [max((math.sqrt(squared[a][p]) for p in positive[a]), default=0.0) for a in rows]
        near = [min(math.sqrt(squared[a][n]) for n in negative[a]) for a in rows]
        return sum(max(f - n + margin, 0.0) for f, n in zip(far, near, strict=True)) / len(label)
    if name == "batch_hard_arc_triplet_loss":
        far = [max((angle[a][p] for p in positive[a]), default=0.0) for a in rows]
        near = [min(angle[a][n] for n in negative[a]) for a in rows]
        return 32 * sum(push(n) + pull(f) for f, n in zip(far, near, strict=True)) + sum(far) / len(far)
    if name == "batch_all_arc_triplet_loss":
        return 32 * sum(push(angle[a][n]) + pull(angle[a][p]) for a, p, n in triplets) / max(len(triplets), 1)
    root, factor = (math.sqrt, 100) if name == "batch_all_triplet_loss" else (float, 1)
    excess = [root(squared[a][p]) - root(squared[a][n]) + margin for a, p, n in triplets]
    violations = [value for value in excess if value > 1e-16]
    return factor * sum(violations) / max(len(violations), 1)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "ms_loss"])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), margin=st.sampled_from([0.0, 0.5, 2.0]))
def test_the_formulas(name: str, seed: int, margin: float) -> None:
    code, label = draw(seed)
    assert float(LOSSES[name](code, label, margin=margin)) == pytest.approx(
        brute_force(name, code, label, margin), rel=1e-9, abs=1e-9
    )


def test_multi_similarity_formula() -> None:
    code, label = draw(3)
    cosine = torch.cosine_similarity(code[:, None], code, dim=-1)
    total = 0.0
    for a in range(len(label)):
        positive = [float(cosine[a, p]) for p in range(len(label)) if p != a and label[p] == label[a]]
        negative = [float(cosine[a, n]) for n in range(len(label)) if label[n] != label[a]]
        kept_positive = [s for s in positive if s - 0.1 < max(negative)]
        kept_negative = [s for s in negative if not positive or s + 0.1 > min(positive)]
        if not positive:
            kept_negative = []
        total += math.log1p(sum(math.exp(-2 * (s - 1)) for s in kept_positive)) / 2
        total += math.log1p(sum(math.exp(50 * (s - 1)) for s in kept_negative)) / 50
    assert float(ms_loss(code, label)) == pytest.approx(100 * total / len(label), rel=1e-9)


@pytest.mark.parametrize("name", list(LOSSES))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_neither_order_nor_names_matter(name: str, seed: int) -> None:
    code, label = draw(seed)
    order = torch.randperm(len(label), generator=torch.Generator().manual_seed(seed))
    options = {} if name == "ms_loss" else {"margin": 0.3}
    expected = LOSSES[name](code, label, **options)
    torch.testing.assert_close(LOSSES[name](code[order], 7 - label[order].to(torch.int32), **options), expected)


@pytest.mark.parametrize("name", ["batch_all_arc_triplet_loss", "batch_hard_arc_triplet_loss", "ms_loss"])
def test_only_directions_matter_to_angles(name: str) -> None:
    code, label = draw(0)
    scaled = code * torch.linspace(0.1, 10, len(code), dtype=torch.float64)[:, None]
    torch.testing.assert_close(LOSSES[name](scaled, label), LOSSES[name](code, label))


def loss_functions() -> list[Callable[..., Tensor]]:
    return [
        lambda code, label: batch_hard_triplet(code, label, 0.3),
        lambda code, label: batch_all_triplet(code, label, 0.3),
        lambda code, label: semihard_triplet(code, label, 0.3),
        batch_all_arc_triplet,
        batch_hard_arc_triplet,
        ms_loss,
    ]


@pytest.mark.parametrize("loss", loss_functions())
def test_gradient_is_that_of_the_function(loss: Callable[..., Tensor]) -> None:
    code, label = draw(1)
    assert torch.autograd.gradcheck(lambda code: loss(code, label), code.requires_grad_())


@pytest.mark.parametrize("loss", loss_functions())
def test_a_person_with_one_face_and_equal_codes_are_no_trouble(loss: Callable[..., Tensor]) -> None:
    code = golden_codes()
    code[1] = code[0]
    code[7] = 0
    code.requires_grad_()
    value = loss(code, torch.tensor([0, 0, 1, 1, 2, 2, 3, 4]))
    value.backward()
    assert code.grad is not None
    assert value.isfinite()
    assert code.grad.isfinite().all()


@pytest.mark.parametrize("loss", loss_functions())
def test_a_batch_of_one_person_is_refused(loss: Callable[..., Tensor]) -> None:
    with pytest.raises(UserError, match="faces of one identity only"):
        loss(golden_codes(), torch.zeros(8, dtype=torch.int64))


def test_hardest_of_an_anchor_without_positives() -> None:
    measure = torch.arange(9.0).view(3, 3)
    positive, negative = hardest(measure, torch.tensor([0, 0, 1]))
    assert positive.tolist() == [1, 3, 0]
    assert negative.tolist() == [2, 5, 6]


@pytest.mark.parametrize("loss", [batch_all_triplet, semihard_triplet])
def test_anchors_in_portions(loss: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    code = golden_codes().requires_grad_()
    whole = torch.autograd.grad(loss(code, LABEL, 1.0), code)[0]
    monkeypatch.setattr(triplet, "_ENTRIES", 3 * 8 * 8)
    value = loss(code, LABEL, 1.0)
    torch.testing.assert_close(torch.autograd.grad(value, code)[0], whole)


def test_the_sum_over_gathered_batches_is_divided() -> None:
    options = {"minimize_dist": False}
    alone = batch_hard_arc_triplet(golden_codes(), LABEL, **options)
    torch.testing.assert_close(batch_hard_arc_triplet(golden_codes(), LABEL, **options, shares=4), alone / 4)
    mean = hardest(pairwise_angle(golden_codes()), LABEL)[0].mean()
    torch.testing.assert_close(batch_hard_arc_triplet(golden_codes(), LABEL, shares=4), alone / 4 + mean)
