from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from src.errors import UserError
from src.losses.code_losses import (
    balance_of_positions,
    balance_parity,
    balance_soft,
    lut_parity,
    lut_soft,
    quantization,
)

LABEL = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2])


def golden_codes() -> Tensor:
    i = torch.arange(8, dtype=torch.float64)[:, None]
    j = torch.arange(6, dtype=torch.float64)
    return 3.5 + 3.5 * torch.sin(0.7 * i + 1.3 * j + 0.1 * i * j)


def one_hot(codes: Tensor, q: int = 8) -> Tensor:
    return F.one_hot(codes, q).double()


def random_codes(rows: int = 8, m: int = 6, q: int = 8) -> Tensor:
    return torch.randint(q, (rows, m), generator=torch.Generator().manual_seed(0))


def test_quantization_golden() -> None:
    code = golden_codes().requires_grad_()
    loss = quantization(code)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.4796623721, abs=1e-9)
    assert code.grad is not None
    assert float(code.grad.norm()) == pytest.approx(0.4897256232, abs=1e-9)
    torch.testing.assert_close(code.grad, 2 * (golden_codes() - golden_codes().round()) / 8)


@pytest.mark.parametrize(
    ("activation", "bits", "value"), [("tanh", None, 56.7948734534), ("sigmoid", 8, 48.4861236799)]
)
def test_bit_loss_golden(activation: str, bits: int | None, value: float) -> None:
    code = golden_codes().requires_grad_()
    loss = lut_parity(code, LABEL, 8, activation, bits)
    assert float(loss) == pytest.approx(value, abs=1e-9)
    assert not loss.requires_grad


def test_balance_golden() -> None:
    code = golden_codes().requires_grad_()
    loss = balance_parity(code, 8)
    assert float(loss) == pytest.approx(18.3005546899, abs=1e-9)
    assert not loss.requires_grad


def test_balance_of_the_mean_golden() -> None:
    """The part on the mean of a code, whose golden value is of codes that are not rounded."""
    code = golden_codes().requires_grad_()
    loss = balance_soft(torch.full((8, 6, 8), 1 / 8), code)
    loss.backward()
    assert float(loss.detach()) - 7 * math.log(8) == pytest.approx(3.0021313695, abs=1e-6)
    assert code.grad is not None
    assert float(code.grad.norm()) == pytest.approx(1.1547005384, abs=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_certain_symbols_have_the_bits_of_the_reference(activation: str) -> None:
    codes = random_codes()
    soft = lut_soft(one_hot(codes), LABEL, activation)
    hard = lut_parity(codes.double(), LABEL, 8, activation)
    torch.testing.assert_close(64 * soft, hard)


def test_certain_symbols_have_the_balance_of_the_reference() -> None:
    codes = random_codes()
    torch.testing.assert_close(balance_soft(one_hot(codes), codes.double()), balance_parity(codes.double(), 8))


def test_expected_share_of_unequal_bits() -> None:
    """Two people whose symbols, of one bit, are 1 with probabilities 0.9 and 0.2."""
    probability = torch.tensor([[[0.1, 0.9]], [[0.8, 0.2]]])
    unequal = 0.9 * 0.8 + 0.1 * 0.2
    expected = (2 + 2 * (1 - 0.5 * math.tanh(unequal))) / 4
    assert float(lut_soft(probability, torch.tensor([0, 1]), "tanh")) == pytest.approx(expected, abs=1e-7)


def test_even_symbols_are_the_smallest_balance() -> None:
    even = torch.arange(8).repeat(4, 1)
    assert float(balance_soft(one_hot(even), even.double())) == pytest.approx(7 * math.log(8), abs=1e-5)
    assert round(7 * math.log(8), 3) == 14.556
    for codes in (random_codes(), torch.zeros(8, 6, dtype=torch.int64)):
        assert float(balance_soft(one_hot(codes), codes.double())) > 7 * math.log(8) + 0.1


def test_every_position_is_balanced_by_itself() -> None:
    least = 7 * math.log(8)
    rows = torch.stack([torch.arange(8).roll(shift) for shift in range(8)])
    assert float(balance_of_positions(one_hot(rows))) == pytest.approx(least, abs=1e-5)
    stuck = torch.arange(8).expand(8, 8)  # every face has the same code
    assert float(balance_soft(one_hot(stuck), stuck.double())) == pytest.approx(least, abs=1e-5)
    assert float(balance_of_positions(one_hot(stuck))) > least + 10


@pytest.mark.parametrize("loss", ["bits", "balance"])
def test_gradients_reach_the_logits(loss: str) -> None:
    logits = torch.randn(8, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def value(logits: Tensor) -> Tensor:
        probability = logits.softmax(-1)
        if loss == "bits":
            return lut_soft(probability, LABEL, "tanh")
        return balance_soft(probability, probability @ torch.arange(8.0, dtype=torch.float64))

    assert torch.autograd.gradcheck(value, logits)
    assert float(torch.autograd.grad(value(logits), logits)[0].norm()) > 1e-3


@pytest.mark.parametrize("q", [2, 4, 16, 32])
def test_other_alphabets(q: int) -> None:
    codes = random_codes(q=q)
    assert lut_soft(one_hot(codes, q), LABEL, "sigmoid").isfinite()
    assert float(balance_soft(one_hot(codes, q), codes.double())) >= (q - 1) * math.log(q)


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(UserError, match=r"loss\.bin_lut: expected tanh or sigmoid, found 'relu'"):
        lut_soft(one_hot(random_codes()), LABEL, "relu")
