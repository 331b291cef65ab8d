"""SensitiveNets: templates on which a gender detector always answers the same."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Literal, get_args

import lightning as L
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.losses.heads import NormalizedSoftmaxHead
from src.models.suppression.learned import LearnedSuppressor
from src.models.suppression.two_player import TwoPlayer

__all__ = ["Recognition", "SensitiveNets", "constant_answer_loss"]

Recognition = Literal["softmax", "triplet"]


class SensitiveNets(LearnedSuppressor):
    """SensitiveNets (Morales et al. 2021) on embeddings: four linear layers with ReLU between them.

    Args:
        weight: Of the privacy loss, lambda.
        recognition: ``"triplet"`` as in the paper, or ``"softmax"`` over the cosines with the identities.
        scale: From cosines to logits of the softmax.
        detected: Class whose probability the detector is led to give always, 0 female or 1 male.
        lr: Learning rate of Adam for encoder and detector.
        epochs: Passes; the first 1 / 25 of them are without privacy loss.
        batch_size: Embeddings per step.
        seed: Of the initial weights and the order.

    Raises:
        UserError: A value is out of its range.
    """

    def __init__(
        self,
        weight: float = 1.0,
        recognition: Recognition = "softmax",
        scale: float = 64.0,
        detected: int = 0,
        lr: float = 1e-3,
        epochs: int = 50,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(epochs, batch_size, seed)
        check_choice("SensitiveNets: recognition", recognition, get_args(Recognition))
        if detected not in (0, 1):
            raise UserError(f"SensitiveNets: detected={detected}: expected 0 (female) or 1 (male)")
        self.weight = weight
        self.recognition = recognition
        self.scale = scale
        self.detected = detected
        self.lr = lr

    def build(self, embedding_size: int, num_classes: int) -> tuple[L.LightningModule, nn.Module]:
        """See `LearnedSuppressor.build`."""
        softmax = self.recognition == "softmax"
        module = TwoPlayer(
            _layers(*[embedding_size] * 5),
            nn.Sequential(_Unit(), _layers(embedding_size, embedding_size, embedding_size, 2)),
            NormalizedSoftmaxHead(embedding_size, num_classes, self.scale) if softmax else None,
            F.cross_entropy,
            partial(constant_answer_loss, detected=self.detected),
            weight=self.weight,
            lr=self.lr,
            attacker_lr=self.lr,
            warmup_epochs=math.ceil(self.epochs / 25),
        )
        return module, module.encoder


def constant_answer_loss(logits: Tensor, attribute: Tensor, detected: int = 0) -> Tensor:
    """Mean of ``log(1 + |0.9 - p|)``, p the probability of one class, the same for all faces.

    Args:
        logits: Float [B, 2] of the detector.
        attribute: int64 [B]; does not matter.
        detected: The class.
    """
    return (0.9 - logits.softmax(1)[:, detected]).abs().log1p().mean()


class _Unit(nn.Module):
    """Scales rows to unit length."""

    def forward(self, template: Tensor) -> Tensor:
        return F.normalize(template)


def _layers(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers = [layer for inputs, outputs in pairwise(sizes) for layer in (nn.Linear(inputs, outputs), nn.ReLU())]
    return nn.Sequential(*layers[:-1])
