"""The Inception network whose features the FID of generated images is measured by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.inception import (
    BasicConv2d,
    Inception3,
    InceptionA,
    InceptionAux,
    InceptionB,
    InceptionC,
    InceptionD,
    InceptionE,
)

from src.models.networks.weights import load_weights

__all__ = ["InceptionFeatures"]

_CLASSES = 1008
_SIDE = 299


class InceptionFeatures(nn.Module):
    """Inception v3 of December 2015, from images to the 2048 features that published FID, KID and IS are computed of.

    Args:
        path: File of its weights by PyTorch's names, such as ``weights-inception-2015-12-05-6726825d.pth`` of
            torch-fidelity or ``pt_inception-2015-12-05-6726825d.pth`` of pytorch-fid. Other weights of Inception v3,
            such as torchvision's, are another network: 1000 classes and not 1008.

    Raises:
        UserError: The file is missing, damaged or holds another network.
    """

    class_weights: Tensor

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        blocks = [BasicConv2d, _InceptionA, InceptionB, _InceptionC, InceptionD, _InceptionE, InceptionAux]
        network = Inception3(
            num_classes=_CLASSES, aux_logits=False, transform_input=False, inception_blocks=blocks, init_weights=False
        )
        network.Mixed_7c = _LastInceptionE(2048)
        load_weights(network, path)
        self.register_buffer("class_weights", network.fc.weight.detach())
        network.fc = nn.Identity()
        self.network = network.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features.

        Args:
            images: float32 [N, 3, H, W] in [-1, 1] RGB; resized to 299 pixels as TensorFlow 1 does.

        Returns:
            float32 [N, 2048].
        """
        return self.network((_resize(images, _SIDE) * 127.5 - 0.5) / 128)

    def logits(self, features: Tensor) -> Tensor:
        """Logits [N, 1008] of features [N, 2048]; without bias, as the Inception score is published."""
        return F.linear(features, self.class_weights)


class _Pooled(nn.Module):
    """A block of torchvision with the pooling of the original, which leaves the padding out of its averages."""

    _forward: Any
    branch_pool: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        *branches, _ = self._forward(x)
        return torch.cat([*branches, self.branch_pool(self.pool(x))], dim=1)

    def pool(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _InceptionA(_Pooled, InceptionA):
    pass


class _InceptionC(_Pooled, InceptionC):
    pass


class _InceptionE(_Pooled, InceptionE):
    pass


class _LastInceptionE(_Pooled, InceptionE):
    def pool(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 3, stride=1, padding=1)


def _resize(images: Tensor, side: int) -> Tensor:
    """Bilinear, with neither antialiasing nor the half-pixel shift of later versions."""
    for dim in (2, 3):
        count = images.shape[dim]
        position = torch.arange(side, device=images.device) * (count / side)
        low = position.long()
        weight = (position - low).view(-1, *[1] * (3 - dim))
        above = images.index_select(dim, (low + 1).clamp(max=count - 1))
        images = images.index_select(dim, low).lerp(above, weight)
    return images
