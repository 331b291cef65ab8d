"""The loss of deep rank hashing: an angular loss over the codes of a batch, and what shapes the codes themselves."""

from __future__ import annotations

import inspect
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.losses.code_losses import (
    balance_of_positions,
    balance_parity,
    balance_soft,
    lut_parity,
    lut_soft,
    quantization,
)
from src.losses.triplet import LOSSES, Angle, hardest, pairwise_angle
from src.ops.collectives import gather_over_processes, process_count
from src.ops.soft_rank import SoftCode

__all__ = ["BalanceScope", "BinLut", "DRHLoss", "DRHLossOutput", "hardest_angles"]

BinLut = Literal["tanh", "sigmoid", "none"]
BalanceScope = Literal["code", "position"]

_FIXED_ROWS = 8
"""Of the table that the reference takes for the sigmoid."""


class DRHLossOutput(NamedTuple):
    """The loss of a batch and what it is made of; all but ``total`` detached and, if not said otherwise, unweighted.

    Attributes:
        total: Weighted sum of what is switched on, a scalar with gradient.
        learnable: Weighted sum of those parts of ``total`` that have a gradient; less than that where parts are
            computed as the reference does.
        pred: Loss over pairs or triplets.
        reg: Penalty on the weights of the hidden layers.
        quanti: Quantisation loss.
        bin: Loss on bits; 0 without one.
        balance: Loss on the frequencies of the symbols.
    """

    total: Tensor
    learnable: Tensor
    pred: Tensor
    reg: Tensor
    quanti: Tensor
    bin: Tensor
    balance: Tensor


class DRHLoss(nn.Module):
    """Total loss of Dong et al. 2022 in double precision, autocast or not.

    ``pred + w_reg * reg + w_quanti * quanti + w_bin * bin + w_balance * balance``; there is no loss over identities'
    class centres. As published, ``bin`` and ``balance`` are computed from rounded codes and teach nothing; here they
    are computed from the probabilities of the symbols.

    Args:
        name: Loss over pairs or triplets, one of `src.losses.triplet.LOSSES`.
        margin: Of that loss: radians, or code units where it compares distances.
        scale: Of the losses over angles.
        minimize_dist: Add the mean of the widest angles to positives; ``batch_hard_arc_triplet_loss`` only.
        angle: ``"fixed"`` or ``"parity"``, see `src.losses.triplet.pairwise_angle`.
        w_reg: Weight of the penalty on hidden layers.
        quanti: Whether the quantisation loss counts.
        w_quanti: Its weight.
        bin_lut: Activation of the loss on bits, ``"none"`` for no such loss.
        w_bin: Its weight.
        bin_lut_grad: Compute it so that it has a gradient; else as the reference.
        bin_lut_parity: With the sigmoid, use q bits for a symbol as the reference does, which fails above q = 8.
        balance: Whether the balance loss counts.
        w_balance: Its weight.
        balance_grad: Compute it so that it has a gradient; else as the reference.
        balance_scope: What is to be even: the symbols of all positions together, and the mean of every code
            (``"code"``), or the symbols at every position (``"position"``), which keeps short codes from collapsing.
        center_codes: Compare codes less the middle of the alphabet, so that angles are not all below a right angle.
        gather_embeddings: Compute all of it over the codes of all processes, sums divided by their number; else each
            process has its own pairs, triplets and frequencies.

    Raises:
        UserError: There is no such loss, angle, activation or scope, or the reference lacks it.
    """

    def __init__(
        self,
        name: str = "batch_hard_arc_triplet_loss",
        margin: float = 0.0,
        scale: float = 32.0,
        minimize_dist: bool = True,
        angle: Angle = "fixed",
        w_reg: float = 0.5,
        quanti: bool = False,
        w_quanti: float = 0.5,
        bin_lut: BinLut = "tanh",
        w_bin: float = 0.001,
        bin_lut_grad: bool = True,
        bin_lut_parity: bool = False,
        balance: bool = True,
        w_balance: float = 1.0,
        balance_grad: bool = True,
        balance_scope: BalanceScope = "code",
        center_codes: bool = False,
        gather_embeddings: bool = False,
    ) -> None:
        super().__init__()
        check_choice("loss.name", name, list(LOSSES))
        check_choice("loss.angle", angle, get_args(Angle))
        check_choice("loss.bin_lut", bin_lut, get_args(BinLut))
        check_choice("loss.balance_scope", balance_scope, get_args(BalanceScope))
        if balance_scope == "position" and not balance_grad:
            raise UserError("loss.balance_scope=position: the reference has no such loss; set loss.balance_grad=true")
        self._compare = LOSSES[name]
        known = inspect.signature(self._compare).parameters
        options = {"margin": margin, "scale": scale, "minimize_dist": minimize_dist, "angle": angle}
        self._options = {option: value for option, value in options.items() if option in known}
        self._is_sum = "shares" in known
        self.w_reg = w_reg
        self.w_quanti = w_quanti if quanti else 0.0
        self.w_bin = w_bin
        self.bin_lut = bin_lut
        self.bin_lut_grad = bin_lut_grad
        self.bin_lut_parity = bin_lut_parity
        self.w_balance = w_balance if balance else 0.0
        self.balance_grad = balance_grad
        self.balance_scope = balance_scope
        self.center_codes = center_codes
        self.gather_embeddings = gather_embeddings

    def check(self, q: int) -> None:
        """Raise UserError where the loss of codes over an alphabet of ``q`` could only fail."""
        if self._bits(q) is not None and q > _FIXED_ROWS:
            raise UserError(
                f"loss.bin_lut_parity=true: the reference's table has {_FIXED_ROWS} rows, model.layer.q is {q}; "
                "set loss.bin_lut_parity=false"
            )

    def forward(self, soft: SoftCode, label: Tensor, penalty: Tensor) -> DRHLossOutput:
        """Compute the loss of a batch.

        Args:
            soft: Differentiable codes, [B, m, q] and [B, m].
            label: int [B], identities; at least two of them.
            penalty: On the weights of the hidden layers, a scalar.

        Raises:
            UserError: The batch is of one identity.
        """
        shares = process_count() if self.gather_embeddings else 1
        if shares > 1:
            soft, label = SoftCode(*map(gather_over_processes, soft)), gather_over_processes(label)
        with torch.autocast(soft.code.device.type, enabled=False):
            pred = self._pred(soft, label, shares)
            quanti = quantization(soft.code)
            bits = self._bin(soft, label)
            balance = self._balance(soft, shares)
        weighted = [pred, self.w_reg * penalty, self.w_quanti * quanti, self.w_bin * bits, self.w_balance * balance]
        total = torch.stack([part.double() for part in weighted]).sum()
        without_gradient = sum(part.double() for part in weighted if not part.requires_grad)
        parts = (total - without_gradient, pred, penalty, quanti, bits, balance)
        return DRHLossOutput(total, *(part.detach() for part in parts))

    def compared(self, soft: SoftCode) -> Tensor:
        """The codes float64 [B, m] whose angles or distances count."""
        return soft.code - (soft.probability.shape[-1] - 1) / 2 if self.center_codes else soft.code

    def _pred(self, soft: SoftCode, label: Tensor, shares: int) -> Tensor:
        options = self._options | ({"shares": shares} if self._is_sum else {})
        return self._compare(self.compared(soft), label, **options)

    def _bin(self, soft: SoftCode, label: Tensor) -> Tensor:
        if self.bin_lut == "none":
            return soft.code.new_zeros(())
        q = soft.probability.shape[-1]
        if self.bin_lut_grad:
            return lut_soft(soft.probability, label, self.bin_lut, self._bits(q))
        return lut_parity(soft.code, label, q, self.bin_lut, self._bits(q))

    def _bits(self, q: int) -> int | None:
        """Bits of a symbol in the table; None for as many as needed."""
        return q if self.bin_lut_parity and self.bin_lut == "sigmoid" else None

    def _balance(self, soft: SoftCode, shares: int) -> Tensor:
        if self.balance_scope == "position":
            return balance_of_positions(soft.probability)
        if self.balance_grad:
            return balance_soft(soft.probability, soft.code, shares)
        return balance_parity(soft.code, soft.probability.shape[-1])


@torch.no_grad()
def hardest_angles(code: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Widest angle to a positive and narrowest to a negative in radians, means over the anchors of a batch.

    Args:
        code: Float [B, m].
        label: int [B], at least two identities.
    """
    positive, negative = hardest(pairwise_angle(code), label)
    return positive.mean(), negative.mean()
