from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from src.losses import margins

GOLDEN = json.loads((Path(__file__).parents[1] / "parity/face_recognition_golden.json").read_text())["heads"]
COSINE = torch.tensor(GOLDEN["cos"], dtype=torch.float64)
TARGET = torch.tensor(GOLDEN["y"])
SCALE = GOLDEN["s"]
PER_SAMPLE = torch.tensor([0.47, 0.55, 0.51], dtype=torch.float64)


def filtered(cosine: Tensor) -> Tensor:
    return margins.filter_interclass(cosine, TARGET, 0.4)


GOLDEN_MARGINS = {
    "arc_ste_m0.5": lambda c: margins.arcface(c, TARGET, 0.5),
    "arc_ste_m0.5_filter0.4": lambda c: margins.arcface(filtered(c), TARGET, 0.5),
    "arc_exact_m0.5": lambda c: margins.arcface(c, TARGET, 0.5, "exact"),
    "arc_exact_m0.5_guard": lambda c: margins.arcface(c, TARGET, 0.5, "exact", "linear"),
    "cos_m0.4": lambda c: margins.cosface(c, TARGET, 0.4),
    "cos_m0.4_filter0.4": lambda c: margins.cosface(filtered(c), TARGET, 0.4),
    "combined_exact_1_.3_.2": lambda c: margins.combined(c, TARGET, 1.0, 0.3, 0.2, "exact"),
    "combined_exact_.9_.4_.15": lambda c: margins.combined(c, TARGET, 0.9, 0.4, 0.15, "exact"),
    "elastic_arc_margins_.47_.55_.51": lambda c: margins.arcface(c, TARGET, PER_SAMPLE, "exact"),
    "elastic_cos_margins_.47_.55_.51": lambda c: margins.cosface(c, TARGET, PER_SAMPLE),
}


@pytest.mark.parametrize("name", GOLDEN_MARGINS)
def test_golden_logits_loss_and_gradient(name: str) -> None:
    expected = GOLDEN[name]
    cosine = COSINE.clone().requires_grad_()
    logits = SCALE * GOLDEN_MARGINS[name](cosine)
    loss = F.cross_entropy(logits, TARGET)
    loss.backward()
    assert torch.allclose(logits, torch.tensor(expected["logits"]).double(), atol=1e-6)
    assert loss.item() == pytest.approx(expected["loss"], abs=1e-6)
    assert torch.allclose(cosine.grad, torch.tensor(expected["grad_cos"]).double(), rtol=1e-6, atol=1e-9)


def test_filtered_logits_are_exactly_zero_and_pass_no_gradient() -> None:
    cosine = COSINE.clone().requires_grad_()
    output = filtered(cosine)
    output.square().sum().backward()
    suppressed = COSINE > 0.4
    suppressed[torch.arange(3), TARGET] = False
    assert (output[suppressed] == 0).all()
    assert (cosine.grad[suppressed] == 0).all()
    assert torch.equal(output[~suppressed], COSINE[~suppressed])


def test_elastic_plus_ranks_margins_by_difficulty() -> None:
    expected = GOLDEN["elastic_plus"]
    cosine, draws = torch.tensor(expected["target_cos"]), torch.tensor(expected["draws"])
    assert margins.rank_margins(cosine, draws).tolist() == pytest.approx(expected["assigned_rank_rule"])
    shuffled = margins.rank_margins(cosine, draws, compat_permutation=True)
    assert shuffled.tolist() == pytest.approx(expected["assigned_peer_permutation"])


@pytest.mark.parametrize(("key", "factor"), [("m4", 4.0), ("m1.5", 1.5)])
def test_golden_sphereface(key: str, factor: float) -> None:
    expected = GOLDEN["sphereface_psi"]
    cosine = torch.tensor([expected["cos_y"]], dtype=torch.float64).T.expand(3, 2)
    target = torch.zeros(3, dtype=torch.int64)
    assert margins.sphereface(cosine, target, factor)[:, 0].tolist() == pytest.approx(expected[key], abs=1e-7)
    blended = margins.sphereface(cosine, target, factor, annealing=5.0)[:, 0]
    assert torch.allclose(blended, (5 * cosine[:, 0] + torch.tensor(expected[key]).double()) / 6, atol=1e-7)
    if factor == 1.5:
        v0 = margins.sphereface_r(cosine, target, factor, "v0")[:, 0]
        assert v0.tolist() == pytest.approx(expected[key], abs=1e-7)


def test_sphereface_r_v1_stops_at_pi() -> None:
    cosine = torch.tensor([[0.62, 0.0], [-0.92, 0.0]], dtype=torch.float64)
    value = margins.sphereface_r(cosine, torch.tensor([0, 0]), 1.5, "v1")[:, 0]
    assert value.tolist() == pytest.approx([math.cos(1.5 * math.acos(0.62)), -1.0])


@pytest.mark.parametrize("guard", ["none", "linear", "easy"])
def test_exact_arcface_passes_gradcheck(guard: margins.Guard) -> None:
    cosine = torch.linspace(-0.9, 0.95, 15, dtype=torch.float64).reshape(3, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: margins.arcface(c, TARGET, 0.5, "exact", guard), cosine)


def test_exact_gradients_of_the_other_margins_pass_gradcheck() -> None:
    cosine = torch.linspace(-0.9, 0.95, 15, dtype=torch.float64).reshape(3, 5).requires_grad_()
    quality = torch.tensor([-0.6, 0.1, 0.9], dtype=torch.float64)
    for function in (
        lambda c: margins.combined(c, TARGET, 0.9, 0.4, 0.15, "exact"),
        lambda c: margins.adaface(c, TARGET, quality, 0.4, "exact"),
        lambda c: margins.sphereface(c, TARGET, 4.0, 5.0),
        lambda c: margins.curricularface(c, TARGET, 0.3, 0.5),
    ):
        assert torch.autograd.gradcheck(function, cosine)


TARGET_ONLY_MARGINS = {
    "cosface": lambda c, y: margins.cosface(c, y, 0.4),
    "arcface": lambda c, y: margins.arcface(c, y, 0.5),
    "arcface_guarded": lambda c, y: margins.arcface(c, y, 0.5, "exact", "linear"),
    "combined": lambda c, y: margins.combined(c, y, 0.9, 0.4, 0.15),
    "adaface": lambda c, y: margins.adaface(c, y, torch.zeros_like(c[:, 0])),
    "sphereface": lambda c, y: margins.sphereface(c, y, 4.0, 5.0),
    "sphereface_r": lambda c, y: margins.sphereface_r(c, y, 1.5),
}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 7))
def test_only_the_targets_entry_changes(seed: int, rows: int, classes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cosine = torch.rand(rows, classes, generator=generator) * 2 - 1
    target = torch.randint(-1, classes, (rows,), generator=generator)
    before, labels = cosine.clone(), target.clone()
    others = torch.ones_like(cosine, dtype=torch.bool)
    others[target >= 0, target[target >= 0]] = False
    for margin in TARGET_ONLY_MARGINS.values():
        assert torch.equal(margin(cosine, target)[others], before[others])
    assert torch.equal(cosine, before)
    assert torch.equal(target, labels)


@pytest.mark.parametrize("margin", [*TARGET_ONLY_MARGINS.values(), lambda c, y: margins.curricularface(c, y, 0.3)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_finite_at_the_ends_of_the_range(margin: object, dtype: torch.dtype) -> None:
    cosine = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=dtype, requires_grad=True)
    output = margin(cosine, torch.tensor([0, 0]))
    output.float().sum().backward()
    assert output.isfinite().all()
    assert cosine.grad.isfinite().all()


def test_rows_without_a_target_are_left_alone_by_curricularface_and_filter() -> None:
    absent = torch.full((3,), -1)
    assert torch.equal(margins.curricularface(COSINE, absent, 0.3), COSINE)
    assert torch.equal(margins.filter_interclass(COSINE, absent, 0.4), COSINE.masked_fill(COSINE > 0.4, 0.0))
