from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from src.errors import UserError
from src.losses.code_losses import balance_of_positions
from src.losses.drh import DRHLoss, DRHLossOutput, hardest_angles
from src.losses.triplet import LOSSES, batch_hard_arc_triplet, hardest, pairwise_angle
from src.models.networks.rank_hash import RankHashLayer
from src.ops.soft_rank import soft_argmax

LABEL = torch.arange(4).repeat_interleave(4)
M, Q = 12, 8


def logits(q: int = Q, rows: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, M * q, dtype=torch.float64, generator=generator).requires_grad_()


def evaluate(loss: DRHLoss, z: Tensor | None = None, penalty: float = 0.25) -> DRHLossOutput:
    z = logits() if z is None else z
    return loss(soft_argmax(z, z.shape[1] // M, 1.0), LABEL, torch.tensor(penalty))


def test_default_total() -> None:
    output = evaluate(DRHLoss())
    expected = output.pred + 0.5 * output.reg + 0.001 * output.bin + output.balance
    torch.testing.assert_close(output.total.detach(), expected)
    soft = soft_argmax(logits(), Q, 1.0)
    torch.testing.assert_close(output.pred, batch_hard_arc_triplet(soft.code, LABEL).detach())
    assert output.total.dtype == torch.float64


def test_weights_and_switches() -> None:
    output = evaluate(DRHLoss(w_reg=2.0, quanti=True, w_quanti=3.0, bin_lut="sigmoid", w_bin=5.0, w_balance=7.0))
    expected = output.pred + 2 * output.reg + 3 * output.quanti + 5 * output.bin + 7 * output.balance
    torch.testing.assert_close(output.total.detach(), expected)
    off = evaluate(DRHLoss(balance=False, bin_lut="none", w_reg=0.0))
    torch.testing.assert_close(off.total.detach(), off.pred)
    assert off.balance > 0  # told nevertheless
    assert off.bin == 0


def test_balance_of_every_position() -> None:
    output = evaluate(DRHLoss(balance_scope="position", w_balance=500.0), penalty=0.0)
    expected = balance_of_positions(soft_argmax(logits(), Q, 1.0).probability)
    torch.testing.assert_close(output.balance, expected.detach())
    torch.testing.assert_close(output.learnable, output.total.detach())
    with pytest.raises(UserError, match="balance_grad=true"):
        DRHLoss(balance_scope="position", balance_grad=False)


def test_centred_codes_are_compared() -> None:
    soft = soft_argmax(logits(), Q, 1.0)
    torch.testing.assert_close(DRHLoss(center_codes=True).compared(soft), soft.code - (Q - 1) / 2)
    assert DRHLoss().compared(soft) is soft.code


def test_as_the_reference_only_the_angular_loss_teaches() -> None:
    z = logits()
    output = evaluate(DRHLoss(bin_lut_grad=False, balance_grad=False), z)
    torch.testing.assert_close(output.learnable, output.pred)
    assert output.total.detach() > output.learnable + 1
    output.total.backward()
    alone = logits()
    evaluate(DRHLoss(bin_lut="none", balance=False), alone).total.backward()
    assert torch.equal(z.grad, alone.grad)


def test_all_of_the_default_teaches() -> None:
    output = evaluate(DRHLoss(), penalty=0.0)
    torch.testing.assert_close(output.learnable, output.total.detach())


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_loss_by_its_name(name: str) -> None:
    z = logits()
    output = evaluate(DRHLoss(name=name, margin=0.2, angle="parity"), z)
    output.total.backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert z.grad.norm() > 0


def test_options_reach_the_loss() -> None:
    code = soft_argmax(logits(), Q, 1.0).code
    options = {"margin": 0.5, "scale": 8.0, "minimize_dist": False, "angle": "parity"}
    output = evaluate(DRHLoss(**options))
    torch.testing.assert_close(output.pred, batch_hard_arc_triplet(code, LABEL, **options).detach())
    centred = evaluate(DRHLoss(center_codes=True))
    torch.testing.assert_close(centred.pred, batch_hard_arc_triplet(code - 3.5, LABEL).detach())


def test_autocast_changes_nothing() -> None:
    z = logits().detach().float()
    expected = evaluate(DRHLoss(quanti=True), z)
    with torch.autocast("cpu", torch.bfloat16):
        assert evaluate(DRHLoss(quanti=True), z).total == expected.total


def test_hardest_angles() -> None:
    code = soft_argmax(logits(), Q, 1.0).code
    positive, negative = hardest_angles(code, LABEL)
    expected = hardest(pairwise_angle(code), LABEL)
    torch.testing.assert_close(positive, expected[0].mean().detach())
    torch.testing.assert_close(negative, expected[1].mean().detach())


class TestRefused:
    def test_unknown_names(self) -> None:
        with pytest.raises(UserError, match=r"loss\.name: expected batch_hard_triplet, .*ms_loss, found 'margin_loss'"):
            DRHLoss(name="margin_loss")
        with pytest.raises(UserError, match=r"loss\.angle: expected fixed or parity"):
            DRHLoss(angle="acos")
        with pytest.raises(UserError, match=r"loss\.bin_lut: expected tanh, sigmoid or none"):
            DRHLoss(bin_lut="relu")

    def test_table_of_the_reference_for_larger_alphabets(self) -> None:
        loss = DRHLoss(bin_lut="sigmoid", bin_lut_parity=True)
        loss.check(8)
        with pytest.raises(UserError, match=r"table has 8 rows, model\.layer\.q is 16; set loss\.bin_lut_parity=false"):
            loss.check(16)
        DRHLoss(bin_lut="tanh", bin_lut_parity=True).check(16)

    def test_one_person(self) -> None:
        with pytest.raises(UserError, match="faces of one identity only"):
            DRHLoss()(soft_argmax(logits(), Q, 1.0), torch.zeros(16, dtype=torch.int64), torch.tensor(0.0))


def test_table_of_the_reference_is_wider() -> None:
    narrow, wide = (evaluate(DRHLoss(bin_lut="sigmoid", bin_lut_parity=parity)).bin for parity in (False, True))
    assert narrow != wide


def toy(seed: int, prototypes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Ten raw embeddings of each of 20 people, whose cosine is about 0.3; specification, section 12.9."""
    generator = torch.Generator().manual_seed(seed)
    if prototypes is None:
        prototypes = torch.nn.functional.normalize(torch.randn(20, 64, generator=generator))
    label = torch.arange(20).repeat_interleave(10)
    noise = torch.nn.functional.normalize(torch.randn(200, 64, generator=generator))
    return 22.6 * (0.3**0.5 * prototypes[label] + 0.7**0.5 * noise), label, prototypes


def equal_error_rate(codes: Tensor, label: Tensor) -> float:
    i, j = torch.triu_indices(len(label), len(label), 1)
    match, same = (codes[i] == codes[j]).double().mean(1), label[i] == label[j]
    thresholds = torch.linspace(0, 1, 65)[:, None]
    rejected, accepted = (match[same] < thresholds).double().mean(1), (match[~same] >= thresholds).double().mean(1)
    best = (rejected - accepted).abs().argmin()
    return float(rejected[best] + accepted[best]) / 2


def test_learned_codes_beat_random_ones() -> None:
    """Specification, section 11, row 19: on other images of the same people."""
    torch.manual_seed(1)
    layer, loss = RankHashLayer(64, m=64), DRHLoss()
    x, label, prototypes = toy(0)
    unseen, _, _ = toy(1, prototypes)
    untrained = equal_error_rate(layer.fold().codes(unseen), label)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    values = []
    for _ in range(120):
        output = loss(layer.soft(x), label, layer.penalty())
        optimizer.zero_grad()
        output.total.backward()
        optimizer.step()
        values.append(float(output.total.detach()))
    assert values[-1] < 0.95 * values[0]
    assert equal_error_rate(layer.fold().codes(unseen), label) < untrained - 0.02


@pytest.mark.parametrize("name", ["batch_hard_arc_triplet_loss", "batch_hard_triplet"])
def test_two_processes_have_the_gradients_of_one(name: str, tmp_path: Path) -> None:
    """With half of the batch each; that of the sum is half as large, as it is per process."""
    multiprocessing.spawn(_worker, (tmp_path, name), nprocs=2)
    shares = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    z = logits()
    DRHLoss(name=name, bin_lut="none", balance=False, minimize_dist=False, margin=0.5)(
        soft_argmax(z, Q, 1.0), LABEL, torch.zeros(())
    ).total.backward()
    assert z.grad is not None
    expected = z.grad / 2 if name == "batch_hard_arc_triplet_loss" else z.grad
    # The mean over processes, as data-parallel training takes it of the gradients of weights that both have.
    torch.testing.assert_close(torch.cat(shares) / 2, expected)


def _worker(rank: int, folder: Path, name: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    rows = slice(0, 6) if rank == 0 else slice(6, 16)  # of different lengths, as where an image cannot be read
    z = logits().detach()[rows].requires_grad_()
    loss = DRHLoss(name=name, bin_lut="none", balance=False, minimize_dist=False, margin=0.5, gather_embeddings=True)
    loss(soft_argmax(z, Q, 1.0), LABEL[rows], torch.zeros(())).total.backward()
    torch.save(z.grad, folder / f"{rank}.pt")
    distributed.destroy_process_group()
