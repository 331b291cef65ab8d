from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from support_margin import problem

from src.errors import UserError
from src.losses.adaptive_heads import AdaFaceHead, CurricularFaceHead, MagFaceHead
from src.losses.elastic_heads import ElasticArcFaceHead, ElasticCosFaceHead
from src.losses.heads import (
    ArcFaceHead,
    CombinedMarginHead,
    CosFaceHead,
    MarginHead,
    NormalizedSoftmaxHead,
)
from src.losses.sphereface_heads import SphereFaceHead, SphereFaceRHead

FILE = json.loads((Path(__file__).parents[1] / "parity/face_recognition_golden.json").read_text())
GOLDEN = FILE["heads"]
COSINE = torch.tensor(GOLDEN["cos"])
EMBEDDING = torch.tensor(GOLDEN["X_for_identity_kernel"])
TARGET = torch.tensor(GOLDEN["y"])

HEADS = {
    "softmax": NormalizedSoftmaxHead,
    "cosface": CosFaceHead,
    "arcface": ArcFaceHead,
    "arcface_exact": lambda d, c: ArcFaceHead(d, c, margin_gradient="exact", guard="linear"),
    "combined": lambda d, c: CombinedMarginHead(d, c, 0.9, 0.4, 0.15),
    "elastic_arc": lambda d, c: ElasticArcFaceHead(d, c, 0.5, 0.0175, plus=True),
    "elastic_cos": lambda d, c: ElasticCosFaceHead(d, c, 0.35, 0.05),
    "adaface": AdaFaceHead,
    "sphereface": SphereFaceHead,
    "sphereface_r": SphereFaceRHead,
    "curricularface": CurricularFaceHead,
    "magface": MagFaceHead,
}


def with_identity_centres(head: MarginHead) -> MarginHead:
    with torch.no_grad():
        head.weight.copy_(torch.eye(5))
    return head


def norms(values: list[float]) -> torch.Tensor:
    return torch.tensor(values)


def test_golden_adaface_straight_through() -> None:
    expected = GOLDEN["adaface_cvl_ste"]
    head = AdaFaceHead(5, 5)
    cosine = COSINE.clone().requires_grad_()
    logits = 64 * head.apply_margin(cosine, TARGET, norms(expected["norms"]))
    loss = F.cross_entropy(logits, TARGET)
    loss.backward()
    assert torch.allclose(logits, torch.tensor(expected["logits"]), atol=2e-5)
    assert loss.item() == pytest.approx(expected["loss"], abs=2e-5)
    assert torch.allclose(cosine.grad, torch.tensor(expected["grad_cos"]), rtol=1e-4, atol=1e-6)
    assert head.norm_mean.item() == pytest.approx(expected["mean_after"], abs=1e-5)
    assert head.norm_std.item() == pytest.approx(expected["std_after"], abs=1e-4)


def test_golden_adaface_running_statistics() -> None:
    head = AdaFaceHead(5, 5)
    for expected in GOLDEN["adaface_cvl_sequence"]:
        logits = 64 * head.apply_margin(COSINE, TARGET, norms(expected["norms"]))
        found = logits[torch.arange(3), TARGET].tolist()
        assert found == pytest.approx(expected["target_logits"], abs=5e-5)
        assert head.norm_mean.item() == pytest.approx(expected["mean"], abs=1e-5)
        assert head.norm_std.item() == pytest.approx(expected["std"], abs=1e-4)
    before = head.norm_mean.clone()
    head.eval().apply_margin(COSINE, TARGET, norms([1.0, 2.0, 3.0]))
    assert torch.equal(head.norm_mean, before)
    assert {"norm_mean", "norm_std"} <= head.state_dict().keys()


def test_golden_adaface_of_its_authors() -> None:
    expected = GOLDEN["adaface_original"]
    head = with_identity_centres(AdaFaceHead(5, 5, margin_gradient="exact"))
    embedding = EMBEDDING.clone().requires_grad_()
    cosine = F.normalize(embedding)
    logits = 64 * head.apply_margin(cosine, TARGET, 10 * embedding.detach().norm(dim=1))
    loss = F.cross_entropy(logits, TARGET)
    loss.backward()
    assert torch.allclose(logits, torch.tensor(expected["logits"]), atol=2e-5)
    assert loss.item() == pytest.approx(expected["loss"], abs=2e-5)
    assert torch.allclose(embedding.grad, torch.tensor(expected["grad_X"]), rtol=1e-4, atol=1e-4)
    assert head.norm_mean.item() == pytest.approx(expected["mean"], abs=1e-5)


def test_golden_curricularface() -> None:
    head = with_identity_centres(CurricularFaceHead(5, 5))
    for expected in GOLDEN["curricular_3_calls"]:
        embedding = EMBEDDING.clone().requires_grad_()
        output = head(embedding, TARGET)
        output.loss.backward()
        assert head.stage.item() == pytest.approx(expected["t"], abs=1e-8)
        assert output.loss.item() == pytest.approx(expected["loss"], abs=2e-5)
        assert torch.allclose(embedding.grad, torch.tensor(expected["grad_X"]), rtol=1e-4, atol=1e-5)
        head.eval()
        logits = 64 * head.apply_margin(F.normalize(EMBEDDING), TARGET, EMBEDDING.norm(dim=1))
        assert torch.allclose(logits, torch.tensor(expected["logits"]), atol=2e-5)
        head.train()


@pytest.mark.parametrize("easy_margin", [True, False])
def test_golden_magface(easy_margin: bool) -> None:
    expected = GOLDEN[f"magface_easy_{easy_margin}"]
    head = with_identity_centres(MagFaceHead(5, 5, norm_weight=0.0, easy_margin=easy_margin))
    embedding = (expected["X_scale"] * EMBEDDING).requires_grad_()
    loss = head(embedding, TARGET).loss
    loss.backward()
    assert loss.item() == pytest.approx(expected["ce"], abs=2e-5)
    assert head.norm_penalty(norms(expected["norm"])).item() == pytest.approx(expected["g"], abs=1e-7)
    logits = 64 * head.apply_margin(F.normalize(embedding), TARGET, norms(expected["norm"]))
    found = logits[torch.arange(3), TARGET].tolist()
    assert found == pytest.approx(expected["target_logits"], abs=2e-5)
    head.norm_weight = 35.0
    assert head(embedding, TARGET).loss.item() == pytest.approx(expected["ce"] + 35 * expected["g"], abs=5e-5)


def test_golden_sphereface_annealing() -> None:
    head = SphereFaceHead(5, 5)
    found = []
    for step in (1, 10, 100, 3000):
        head.iteration.fill_(step - 1)
        head(EMBEDDING, TARGET)
        found.append(head.annealing.item())
    assert found == pytest.approx(GOLDEN["sphereface_psi"]["lambda_it_1_10_100_3000"])


def test_compat_insightface_repeats_its_two_branches() -> None:
    cosine = COSINE
    for m1, m2, m3, reference in [(1.0, 0.5, 0.0, (1.0, 0.5, 0.0)), (1.0, 0.3, 0.2, (1.0, 0.0, 0.2))]:
        repeated = CombinedMarginHead(5, 5, m1, m2, m3, compat="insightface")
        plain = CombinedMarginHead(5, 5, *reference)
        norm = torch.ones(3)
        assert torch.equal(repeated.apply_margin(cosine, TARGET, norm), plain.apply_margin(cosine, TARGET, norm))
    with pytest.raises(UserError, match="compat=insightface"):
        CombinedMarginHead(5, 5, 0.9, 0.4, 0.0, compat="insightface")


def test_elastic_draws_are_random_in_training_and_fixed_outside() -> None:
    torch.manual_seed(0)
    head = ElasticCosFaceHead(5, 5, margin=0.35, sigma=0.05)
    cosine = torch.zeros(4000, 5)
    target = torch.zeros(4000, dtype=torch.int64)
    draws = head.draw_margins(cosine, target)
    assert draws.mean().item() == pytest.approx(0.35, abs=0.005)
    assert draws.std().item() == pytest.approx(0.05, abs=0.003)
    assert torch.equal(head.eval().draw_margins(cosine, target), torch.full((4000,), 0.35))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_loss_and_gradients_are_finite_single_precision_and_leave_labels_alone(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    head = HEADS[name](8, 5)
    with torch.no_grad():
        centres = F.normalize(head.weight)
    embedding = torch.cat([20 * centres[:2], -20 * centres[2:4]]).to(dtype).requires_grad_()
    target = torch.arange(4)
    labels = target.clone()
    with torch.autocast("cpu", torch.bfloat16):
        output = head(embedding, target)
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert output.loss.isfinite()
    assert embedding.grad.isfinite().all()
    assert head.weight.grad.isfinite().all()
    assert output.target_cosine.item() == pytest.approx(0.0, abs=0.01)
    assert not output.target_cosine.requires_grad
    assert torch.equal(target, labels)


@pytest.mark.parametrize("name", HEADS)
def test_one_batch_can_be_learnt(name: str) -> None:
    torch.manual_seed(1)
    head = HEADS[name](8, 4)
    embedding = (10 * torch.randn(16, 8)).requires_grad_()
    target = torch.arange(16) % 4
    optimizer = torch.optim.Adam([embedding, *head.parameters()], lr=0.3)
    first = head(embedding, target)
    for _ in range(40):
        optimizer.zero_grad()
        head(embedding, target).loss.backward()
        optimizer.step()
    last = head(embedding, target)
    assert last.loss < 0.5 * first.loss
    assert last.target_cosine > first.target_cosine + 0.3


def test_filter_threshold_removes_close_classes_from_the_loss() -> None:
    head = with_identity_centres(NormalizedSoftmaxHead(5, 5, scale=64.0, filter_threshold=0.4))
    embedding = torch.tensor([[0.8, 0.6, 0.0, 0.0, 0.0]], requires_grad=True)
    loss = head(embedding, torch.tensor([1])).loss
    assert loss.item() == pytest.approx(0.0, abs=1e-6)


def test_weights_start_small_and_have_one_row_per_class() -> None:
    torch.manual_seed(0)
    head = ArcFaceHead(64, 1000)
    assert head.weight.shape == (1000, 64)
    assert head.weight.std().item() == pytest.approx(0.01, rel=0.02)


def test_running_statistics_are_those_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = norms([14.0, 31.0]), norms([22.0, 40.0, 9.0])
    sums = torch.stack([torch.tensor(3.0), elsewhere.sum(), elsewhere.square().sum()]).double()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: tensor.add_(sums))
    head = AdaFaceHead(5, 5, momentum=1.0)
    head.quality(here)
    together = torch.cat([here, elsewhere])
    assert head.norm_mean.item() == pytest.approx(together.mean().item())
    assert head.norm_std.item() == pytest.approx(together.std().item())


def test_the_loss_has_no_cap() -> None:
    """Sharded references clamp probabilities at 1e-30, which hides how wrong a network is."""
    head = with_identity_centres(CosFaceHead(5, 5, margin=0.4, scale=64.0))
    opposite = torch.tensor([[-1.0, 1.0, 0.0, 0.0, 0.0]])
    loss = head(opposite, torch.tensor([0])).loss.item()
    assert loss == pytest.approx(64 * (2 / 2**0.5 + 0.4), abs=1e-3)
    assert loss > FILE["dist_ce"]["cap"] + 40


@pytest.mark.parametrize(
    "make",
    [
        NormalizedSoftmaxHead,
        CosFaceHead,
        ArcFaceHead,
        lambda d, c: ArcFaceHead(d, c, margin_gradient="exact", guard="linear"),
        lambda d, c: ArcFaceHead(d, c, margin_gradient="exact", guard="easy"),
        lambda d, c: ArcFaceHead(d, c, filter_threshold=0.1),
        lambda d, c: CombinedMarginHead(d, c, 1.0, 0.3, 0.2, margin_gradient="exact"),
        lambda d, c: CombinedMarginHead(d, c, 1.0, 0.3, 0.2, compat="insightface"),
    ],
)
def test_additive_margins_by_the_operator_are_those_by_their_definition(
    make: Callable[[int, int], MarginHead], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding, weight, target = problem(12, 30, 10)
    target = target.clamp(min=0)
    head = make(10, 30).double()
    head.weight.data = weight
    with monkeypatch.context() as patch, torch.autocast("cpu", torch.bfloat16):
        patch.setattr(head, "loss", None)  # of the definition
        found = head(embedding.requires_grad_(), target)
    gradients = torch.autograd.grad(found.loss, [embedding, head.weight])
    expected = MarginHead.output(head, embedding, target)
    wanted = torch.autograd.grad(expected.loss, [embedding, head.weight])
    torch.testing.assert_close([*found, *gradients], [*expected, *wanted], rtol=1e-6, atol=1e-9)
