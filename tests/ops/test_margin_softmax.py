from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support_margin import ARCFACE, EXACT, SETTINGS, formulation, problem, relative, with_gradients

from src.ops import margin_cross_entropy

GOLDEN = json.loads((Path(__file__).parents[1] / "parity/face_recognition_golden.json").read_text())["heads"]
COSINE, TARGET = torch.tensor(GOLDEN["cos"], dtype=torch.float64), torch.tensor(GOLDEN["y"])


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(("batch", "classes", "size"), [(9, 7, 5), (21, 1300, 800)])
def test_float64_is_the_formulation(name: str, batch: int, classes: int, size: int) -> None:
    """The second problem fills more than one block of classes."""
    options = SETTINGS[name]
    inputs = problem(batch, classes, size)
    found = with_gradients(margin_cross_entropy, *inputs, **options)
    expected = with_gradients(formulation, *inputs, **options)
    for value, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-9 * wanted.abs().max().item())


@pytest.mark.parametrize("name", SETTINGS)
def test_float32_is_near_float64(name: str) -> None:
    inputs = problem(24, 1500, 700)
    found = with_gradients(
        margin_cross_entropy, *(x.float() if x.is_floating_point() else x for x in inputs), **SETTINGS[name]
    )
    loss, cosine, embedding_gradient, weight_gradient = with_gradients(formulation, *inputs, **SETTINGS[name])
    tolerance = 1e-4 if name != "large scale" else 3e-3
    assert found[0].dtype == torch.float32
    assert found[0].item() == pytest.approx(loss.item(), rel=1e-5)
    assert found[1].item() == pytest.approx(cosine.item(), abs=1e-6)
    assert relative(found[2], embedding_gradient) < tolerance
    assert relative(found[3], weight_gradient) < tolerance


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("arc_ste_m0.5", ARCFACE),
        ("arc_ste_m0.5_filter0.4", ARCFACE | {"filter_threshold": 0.4}),
        ("arc_exact_m0.5", EXACT),
        ("arc_exact_m0.5_guard", EXACT | {"guard": "linear"}),
        ("cos_m0.4", {"cosine_margin": 0.4}),
        ("cos_m0.4_filter0.4", {"cosine_margin": 0.4, "filter_threshold": 0.4}),
        ("combined_exact_1_.3_.2", EXACT | {"angle_margin": 0.3, "cosine_margin": 0.2}),
    ],
)
def test_golden_loss_and_gradient(name: str, options: dict[str, Any]) -> None:
    """Row by row: each class turns away from the embedding along an axis of its own, on which its gradient appears."""
    expected = GOLDEN[name]
    losses = []
    for cosine, target, wanted in zip(COSINE, TARGET, expected["grad_cos"], strict=True):
        sine = (1 - cosine.square()).sqrt()
        weight = torch.cat([cosine[:, None], sine.diag()], dim=1)
        embedding = torch.eye(1, 6, dtype=torch.float64)
        loss, _, gradient, _ = with_gradients(margin_cross_entropy, embedding, weight, target[None], **options)
        losses.append(loss.item())
        found = gradient[0, 1:] / sine / len(COSINE)
        torch.testing.assert_close(found, torch.tensor(wanted).double(), rtol=1e-5, atol=1e-8)
    assert sum(losses) / len(losses) == pytest.approx(expected["loss"], abs=1e-6)


def test_rows_without_a_target_do_not_count() -> None:
    embeddings, weight, target = problem(6, 5, 4)
    found = with_gradients(margin_cross_entropy, embeddings, weight, target, **ARCFACE)
    assert (found[2][target < 0] == 0).all()
    here = target >= 0
    expected = with_gradients(margin_cross_entropy, embeddings[here], weight, target[here], **ARCFACE)
    torch.testing.assert_close([found[0], found[1], found[3]], [expected[0], expected[1], expected[3]])


@pytest.mark.parametrize("batch", [0, 3])
def test_no_row_that_counts(batch: int) -> None:
    embeddings, weight, target = torch.randn(batch, 4), torch.randn(5, 4), torch.full((batch,), -1)
    loss, cosine, *gradients = with_gradients(margin_cross_entropy, embeddings, weight, target)
    assert (loss.item(), cosine.item()) == (0, 0)
    assert [gradient.shape for gradient in gradients] == [embeddings.shape, weight.shape]
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("scale", [64.0, 1e5])
def test_one_class_is_always_right(scale: float) -> None:
    for sign in (1, -1):
        weight = torch.randn(1, 4)
        loss, cosine, *gradients = with_gradients(
            margin_cross_entropy, sign * weight, weight, torch.tensor([0]), scale=scale, **ARCFACE
        )
        assert loss.item() == 0
        assert cosine.item() == pytest.approx(sign, abs=1e-6)
        assert not any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize("scale", [64.0, 1e4, 1e6])
def test_losses_have_no_cap(scale: float) -> None:
    weight = torch.eye(2, 4)
    embeddings = torch.tensor([[-1.0, 1.0, 0.0, 0.0]])
    loss, _, *gradients = with_gradients(
        margin_cross_entropy, embeddings, weight, torch.tensor([0]), scale=scale, cosine_margin=0.4
    )
    assert loss.item() == pytest.approx(scale * (2 / 2**0.5 + 0.4), rel=1e-6)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_small_losses_keep_their_digits() -> None:
    """A difference of logits near 64 would leave none."""
    weight = torch.eye(3, 3)
    loss, _ = margin_cross_entropy(weight[:1], weight, torch.tensor([0]), scale=20.0)
    assert loss.item() == pytest.approx(math.log1p(2 * math.exp(-20)), rel=1e-5)


def test_not_a_number_is_not_hidden() -> None:
    embeddings, weight, target = problem(4, 40, 6, torch.float32)
    embeddings[0, 0] = math.nan
    assert margin_cross_entropy(embeddings, weight, target)[0].isnan()


def test_layout_does_not_matter() -> None:
    inputs = problem(6, 300, 40, torch.float32)
    expected = with_gradients(margin_cross_entropy, *inputs, **ARCFACE)
    embeddings, weight, target = inputs
    strided = (
        embeddings.T.contiguous().T,
        torch.stack([weight, weight], dim=2)[..., 0],
        torch.stack([target, target], dim=1)[:, 0],
    )
    assert not any(tensor.is_contiguous() for tensor in strided)
    found = with_gradients(margin_cross_entropy, *strided, **ARCFACE)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight_type", [torch.float16, torch.bfloat16, torch.float64])
def test_class_vectors_of_another_type(weight_type: torch.dtype) -> None:
    embeddings, weight, target = problem(6, 50, 40, torch.float32)
    weight = (100 * weight).to(weight_type)
    *found, gradient = with_gradients(margin_cross_entropy, embeddings, weight, target)
    assert gradient.dtype == weight_type
    kind = torch.promote_types(weight_type, torch.float32)
    *expected, wanted = with_gradients(margin_cross_entropy, embeddings, weight.to(kind), target)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, wanted.to(weight_type))


def test_bfloat16_products_on_request() -> None:
    embeddings, weight, target = problem(16, 1500, 700, torch.float32)
    expected = with_gradients(margin_cross_entropy, embeddings, weight, target, **ARCFACE)
    halved = with_gradients(margin_cross_entropy, embeddings.bfloat16(), weight, target, **ARCFACE)
    with torch.autocast("cpu", torch.bfloat16):
        cast = with_gradients(margin_cross_entropy, embeddings, weight, target, **ARCFACE)
    assert halved[2].dtype == torch.bfloat16
    for found in (halved, cast):
        assert found[0].dtype == found[3].dtype == torch.float32
        assert found[0].item() == pytest.approx(expected[0].item(), rel=5e-3)
        assert 1e-4 < relative(found[2], expected[2].double()) < 0.05
        assert 1e-4 < relative(found[3], expected[3].double()) < 0.05
    assert cast[2].dtype == torch.float32


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 20), st.sampled_from(sorted(SETTINGS)), st.integers(0, 99))
def test_lengths_do_not_matter_and_gradients_are_tangential(
    batch: int, classes: int, size: int, name: str, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(batch, size, dtype=torch.float64, generator=generator)
    weight = torch.randn(classes, size, dtype=torch.float64, generator=generator)
    target = torch.randint(-1, classes, (batch,), generator=generator)
    loss, cosine, *gradients = with_gradients(margin_cross_entropy, embeddings, weight, target, **SETTINGS[name])
    assert loss >= 0
    assert -1 <= cosine <= 1
    for vectors, gradient in zip((embeddings, weight), gradients, strict=True):
        radial = (vectors * gradient).sum(1).abs()
        assert (radial <= 1e-9 * (1 + vectors.norm(dim=1) * gradient.norm(dim=1))).all()
    longer = margin_cross_entropy(3 * embeddings, 7 * weight, target, **SETTINGS[name])
    torch.testing.assert_close(list(longer), [loss, cosine], rtol=1e-7, atol=1e-7)
