"""Backbones that see the near infrared as a fourth channel beside the colours."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from src.errors import UserError, check_choice
from src.models.networks.backbone import Backbone

__all__ = ["InfraredBackbone", "PseudoInfrared"]

PseudoInfrared = Literal["luma", "zeros"]

_COLOURS = 3
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class InfraredBackbone(Backbone):
    """A backbone whose first convolution takes four channels: red, green, blue and near infrared.

    The weights of the fourth channel start as the mean of those of the colours. Images without near infrared, such as
    those of all benchmarks, are given one (ArcBiFaceGAN specification, 7.1).

    Args:
        backbone: A network for colours; its first convolution is widened in place.
        nir_at_test: What stands for the near infrared where there is none: ``"luma"``, the brightness of the colours,
            or ``"zeros"``, an even grey.
        nir_dropout: Share of the training images whose near infrared is replaced in the same way, drawn anew for each
            batch, so that the network learns to do without.

    Raises:
        UserError: ``nir_at_test`` is neither, ``nir_dropout`` is no share, or the network has no convolution that takes
            three channels.
    """

    def __init__(self, backbone: Backbone, nir_at_test: PseudoInfrared = "luma", nir_dropout: float = 0.0) -> None:
        super().__init__(backbone.embedding_size, backbone.size)
        check_choice("model.backbone.nir_at_test", nir_at_test, get_args(PseudoInfrared))
        if not 0 <= nir_dropout <= 1:
            raise UserError(f"model.backbone.nir_dropout={nir_dropout}: expected 0 to 1")
        self.backbone = backbone
        self.nir_at_test = nir_at_test
        self.nir_dropout = nir_dropout
        _widen(backbone)

    def extra_repr(self) -> str:
        """What the embeddings depend on beside the weights."""
        return f"nir_at_test={self.nir_at_test}"

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings [B, D] of images float32 [B, 4, S, S], or [B, 3, S, S] without near infrared."""
        colours, infrared = images[:, :_COLOURS], images[:, _COLOURS:]
        if infrared.shape[1] == 0:
            infrared = self._pseudo_infrared(colours)
        elif self.training and self.nir_dropout:
            dropped = torch.rand(len(images), 1, 1, 1, device=images.device) < self.nir_dropout
            infrared = torch.where(dropped, self._pseudo_infrared(colours), infrared)
        return self.backbone(torch.cat([colours, infrared], dim=1))

    def _pseudo_infrared(self, colours: Tensor) -> Tensor:
        if self.nir_at_test == "zeros":
            return torch.zeros_like(colours[:, :1])
        return (colours * colours.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)


def _widen(backbone: Backbone) -> None:
    convolutions = (module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    first = next(convolutions, None)
    if first is None or first.in_channels != _COLOURS:
        raise UserError(
            f"model.backbone: {type(backbone).__name__} does not begin with a convolution that takes 3 channels, so "
            "that none can be added for the near infrared; choose another network"
        )
    weight = first.weight.detach()
    first.weight = nn.Parameter(torch.cat([weight, weight.mean(1, keepdim=True)], dim=1))
    first.in_channels += 1
