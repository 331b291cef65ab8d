"""Adversarial learning: templates on which a gender classifier is at chance."""

from __future__ import annotations

import math

import lightning as L
import torch.nn.functional as F
from torch import Tensor, nn

from src.losses.heads import NormalizedSoftmaxHead
from src.models.networks.privacy_layer import PrivacyLayer
from src.models.suppression.learned import LearnedSuppressor
from src.models.suppression.two_player import TwoPlayer

__all__ = ["Adversarial", "attack_loss", "chance_loss"]


class Adversarial(LearnedSuppressor):
    """The privacy layer of Rezgui et al. 2024, trained against a classifier instead of by angles.

    The attacker has layers of D, D / 2 and 1 values. The encoder is to leave it at chance: its privacy loss is the
    distance of the attacker's binary cross entropy from ln 2.

    Args:
        weight: Of the privacy loss.
        scale: From cosines with the identities to the logits of the recognition loss.
        lr: Learning rate of Adam for encoder and class centres.
        attacker_lr: That for the attacker.
        epochs: Passes.
        batch_size: Embeddings per step.
        seed: Of the initial weights and the order.
    """

    def __init__(
        self,
        weight: float = 50.0,
        scale: float = 64.0,
        lr: float = 1e-3,
        attacker_lr: float = 1e-2,
        epochs: int = 50,
        batch_size: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(epochs, batch_size, seed)
        self.weight = weight
        self.scale = scale
        self.lr = lr
        self.attacker_lr = attacker_lr

    def build(self, embedding_size: int, num_classes: int) -> tuple[L.LightningModule, nn.Module]:
        """See `LearnedSuppressor.build`."""
        attacker = nn.Sequential(
            nn.Linear(embedding_size, embedding_size),
            nn.LeakyReLU(0.2),
            nn.Linear(embedding_size, embedding_size // 2),
            nn.LeakyReLU(0.2),
            nn.Linear(embedding_size // 2, 1),
            nn.Flatten(0),
        )
        module = TwoPlayer(
            PrivacyLayer(embedding_size),
            attacker,
            NormalizedSoftmaxHead(embedding_size, num_classes, self.scale),
            attack_loss,
            chance_loss,
            weight=self.weight,
            lr=self.lr,
            attacker_lr=self.attacker_lr,
        )
        return module, module.encoder


def attack_loss(logits: Tensor, attribute: Tensor) -> Tensor:
    """Binary cross entropy of logits [B] of being male, with attributes int64 [B], 0 female, 1 male."""
    return F.binary_cross_entropy_with_logits(logits, attribute.to(logits.dtype))


def chance_loss(logits: Tensor, attribute: Tensor) -> Tensor:
    """How far the binary cross entropy is from ln 2, that of a classifier that knows nothing."""
    return (attack_loss(logits, attribute) - math.log(2)).abs()
