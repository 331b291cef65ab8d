"""The IR networks of face.evoLVe, AdaFace and CVLface.

The same residual block as IResNet, but not the same network: the first block's shortcut has no weights, the
last batch norm is not affine and every weight has another name. Names are those of CVLface (Kim et al. 2022,
"AdaFace: Quality Adaptive Margin for Face Recognition", and its successors), less the prefix ``net.``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.models.networks.backbone import Backbone

__all__ = ["CVLFaceIR", "ir_18", "ir_34", "ir_50", "ir_101"]


class ImprovedResidualBlock(nn.Module):
    """BN, 3x3 convolution, BN, PReLU, strided 3x3 convolution, BN, plus the shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if in_channels != channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to [B,C',H/stride,W/stride]."""
        return self.res_layer(x) + self.shortcut_layer(x)


class CVLFaceIR(Backbone):
    """Four stages of residual blocks, then one linear layer over the whole last feature map.

    Args:
        blocks: Number of residual blocks in each of the four stages.
        embedding_size: Length D of the embedding.
        size: Height and width of the images in pixels, a multiple of 16.
        dropout: Probability of dropping an entry of the last feature map.

    Raises:
        UserError: If ``size`` is not a multiple of 16.
    """

    def __init__(self, blocks: Sequence[int], embedding_size: int = 512, size: int = 112, dropout: float = 0.4) -> None:
        super().__init__(embedding_size, size)
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        body: list[nn.Module] = []
        in_channels = 64
        for channels, count in zip((64, 128, 256, 512), blocks, strict=True):
            for index in range(count):
                body.append(ImprovedResidualBlock(in_channels, channels, stride=2 if index == 0 else 1))
                in_channels = channels
        self.body = nn.Sequential(*body)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(512 * self.reduced_side(size) ** 2, embedding_size),
            nn.BatchNorm1d(embedding_size, affine=False),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings; everything after the last block runs in single precision."""
        x = self.body(self.input_layer(images))
        with torch.autocast(x.device.type, enabled=False):
            return self.output_layer(x.to(self.output_layer[3].weight.dtype))


def ir_18(embedding_size: int = 512, size: int = 112, dropout: float = 0.4) -> CVLFaceIR:
    """IR-18: 24.0 M parameters at 112 pixels."""
    return CVLFaceIR((2, 2, 2, 2), embedding_size, size, dropout)


def ir_34(embedding_size: int = 512, size: int = 112, dropout: float = 0.4) -> CVLFaceIR:
    """IR-34: 34.1 M parameters at 112 pixels."""
    return CVLFaceIR((3, 4, 6, 3), embedding_size, size, dropout)


def ir_50(embedding_size: int = 512, size: int = 112, dropout: float = 0.4) -> CVLFaceIR:
    """IR-50: 43.6 M parameters at 112 pixels."""
    return CVLFaceIR((3, 4, 14, 3), embedding_size, size, dropout)


def ir_101(embedding_size: int = 512, size: int = 112, dropout: float = 0.4) -> CVLFaceIR:
    """IR-101, as deep as IResNet-100: 65.2 M parameters at 112 pixels."""
    return CVLFaceIR((3, 13, 30, 3), embedding_size, size, dropout)
