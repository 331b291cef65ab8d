"""What SensitiveNets and adversarial learning have in common: an encoder against a network that tells gender."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional

from src.losses.heads import MarginHead

__all__ = ["Loss", "TwoPlayer", "triplet_loss"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""Of what a network yields for a batch and int64 [B]."""


class TwoPlayer(L.LightningModule):
    """In every step the attacker learns on the templates as they are, then the encoder learns against it.

    Args:
        encoder: From embeddings [B, D] to templates [B, D'].
        attacker: From templates to what the two losses below take.
        head: Of the recognition loss, trained with the encoder; None for `triplet_loss`.
        attack_loss: What the attacker minimises, of its output and attributes.
        privacy_loss: What the encoder minimises besides, of the attacker's output and attributes.
        weight: Of the privacy loss against that of recognition.
        lr: Learning rate of Adam for encoder and head.
        attacker_lr: That of Adam for the attacker.
        warmup_epochs: Epochs without privacy loss.
    """

    def __init__(
        self,
        encoder: nn.Module,
        attacker: nn.Module,
        head: MarginHead | None,
        attack_loss: Loss,
        privacy_loss: Loss,
        *,
        weight: float,
        lr: float,
        attacker_lr: float,
        warmup_epochs: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.automatic_optimization = False
        self.attacker = attacker
        self.head = head
        self._attack_loss = attack_loss
        self._privacy_loss = privacy_loss
        self._weight = weight
        self._lr = lr
        self._attacker_lr = attacker_lr
        self._warmup_epochs = warmup_epochs

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step of each."""
        encoder_optimizer, attacker_optimizer = cast(list[LightningOptimizer], self.optimizers())
        template, label, attribute = self.encoder(batch["feature"]), batch["label"], batch["attribute"]
        attacker_optimizer.zero_grad()
        self.manual_backward(self._attack_loss(self.attacker(template.detach()), attribute))
        attacker_optimizer.step()
        loss = triplet_loss(template, label) if self.head is None else self.head(template, label).loss
        if self.current_epoch >= self._warmup_epochs:
            loss = loss + self._weight * self._privacy_loss(self.attacker(template), attribute)
        encoder_optimizer.zero_grad()
        self.manual_backward(loss)
        encoder_optimizer.step()

    def configure_optimizers(self) -> Any:
        """Adam for each player."""
        parameters = [*self.encoder.parameters(), *(self.head.parameters() if self.head else [])]
        return (
            torch.optim.Adam(parameters, lr=self._lr),
            torch.optim.Adam(self.attacker.parameters(), lr=self._attacker_lr),
        )


def triplet_loss(template: Tensor, label: Tensor, margin: float = 0.2) -> Tensor:
    """Mean over the triplets of a batch that violate the margin (Schroff et al. 2015, "FaceNet", eq. 2).

    Args:
        template: Float [B, D], not normalised.
        label: int64 [B].
        margin: By which the squared distance to another person should exceed that to the same one.
    """
    unit = functional.normalize(template)
    distance = 2 - 2 * unit @ unit.T
    same = label[:, None] == label
    positive = same & ~torch.eye(len(label), dtype=torch.bool, device=label.device)
    violation = (distance[:, :, None] - distance[:, None, :] + margin).relu()
    violation = violation * (positive[:, :, None] & ~same[:, None, :])
    return violation.sum() / (violation > 0).sum().clamp(min=1)
