"""The plain face recogniser, trained on pairs of visible and near-infrared images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from src.datamodules.sample import Sample
from src.errors import UserError
from src.models.networks.infrared import InfraredBackbone
from src.models.recognizer import FaceRecognizer

__all__ = ["InfraredRecognizer"]


class InfraredRecognizer(FaceRecognizer):
    """Identity classification by colours and near infrared together; benchmarks embed colours alone.

    Args:
        backbone: See `InfraredBackbone`.
        **options: See `FaceRecognizer`.

    Raises:
        UserError: The backbone takes no near infrared.
    """

    def __init__(self, backbone: nn.Module, **options: Any) -> None:
        if not isinstance(backbone, InfraredBackbone):
            raise UserError(
                f"model/backbone: {type(backbone).__name__} takes no near infrared; choose model/backbone=vis_nir, and "
                "the network in it by model/backbone@model.backbone.backbone=NAME"
            )
        super().__init__(backbone, **options)

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """Margin loss of one batch of pairs."""
        pairs = batch.copy()
        pairs["image"] = torch.cat([batch["image"], batch["nir"]], dim=1)
        return super().training_step(pairs, batch_idx)
