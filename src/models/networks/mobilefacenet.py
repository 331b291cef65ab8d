"""MobileFaceNet.

Chen et al. 2018, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices", in
the two widths of arcface_torch, with its names of weights, so its published ``.pt`` files load strictly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.models.networks.backbone import Backbone

__all__ = ["MobileFaceNet", "mbf", "mbf_large"]


class ConvBlock(nn.Module):
    """Convolution, batch norm and, unless ``linear``, PReLU."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        convolution = nn.Conv2d(in_channels, channels, kernel, stride, padding, groups=groups, bias=False)
        activation = [] if linear else [nn.PReLU(channels)]
        self.layers = nn.Sequential(convolution, nn.BatchNorm2d(channels), *activation)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to [B,C',H',W']."""
        return self.layers(x)


class DepthWise(nn.Module):
    """Inverted bottleneck: 1x1 expansion, 3x3 depthwise convolution, linear 1x1 projection."""

    def __init__(self, in_channels: int, channels: int, hidden: int, *, stride: int = 1) -> None:
        super().__init__()
        self.residual = stride == 1
        self.layers = nn.Sequential(
            ConvBlock(in_channels, hidden),
            ConvBlock(hidden, hidden, 3, stride=stride, padding=1, groups=hidden),
            ConvBlock(hidden, channels, linear=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to [B,C',H/stride,W/stride]; with stride 1 the input is added."""
        return self.layers(x) + x if self.residual else self.layers(x)


class Residual(nn.Module):
    """A row of inverted bottlenecks with shortcuts."""

    def __init__(self, channels: int, blocks: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(DepthWise(channels, channels, hidden) for _ in range(blocks)))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to the same shape."""
        return self.layers(x)


class GlobalDepthWise(nn.Module):
    """Global depthwise convolution in place of pooling (section 3.1 of the paper), then the embedding."""

    def __init__(self, channels: int, side: int, embedding_size: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvBlock(channels, channels, side, groups=channels, linear=True),
            nn.Flatten(),
            nn.Linear(channels, embedding_size, bias=False),
            nn.BatchNorm1d(embedding_size),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,side,side] to [B,D]."""
        return self.layers(x)


class MobileFaceNet(Backbone):
    """Inverted bottlenecks at three resolutions and a global depthwise convolution.

    Args:
        blocks: Bottlenecks of the stem and of the three stages.
        width: Channels are 64, 64, 128 and 128 times this.
        embedding_size: Length D of the embedding.
        size: Height and width of the images in pixels, a multiple of 16.

    Raises:
        UserError: If ``size`` is not a multiple of 16.
    """

    def __init__(self, blocks: Sequence[int], width: int, embedding_size: int = 512, size: int = 112) -> None:
        super().__init__(embedding_size, size)
        narrow, wide = 64 * width, 128 * width
        stem = ConvBlock(narrow, narrow, 3, padding=1, groups=64)
        self.layers = nn.Sequential(
            ConvBlock(3, narrow, 3, stride=2, padding=1),
            stem if blocks[0] == 1 else Residual(narrow, blocks[0], hidden=128),
            DepthWise(narrow, narrow, hidden=128, stride=2),
            Residual(narrow, blocks[1], hidden=128),
            DepthWise(narrow, wide, hidden=256, stride=2),
            Residual(wide, blocks[2], hidden=256),
            DepthWise(wide, wide, hidden=512, stride=2),
            Residual(wide, blocks[3], hidden=256),
        )
        self.conv_sep = ConvBlock(wide, 512)
        self.features = GlobalDepthWise(512, self.reduced_side(size), embedding_size)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings; everything after the last bottleneck runs in single precision."""
        x = self.layers(images)
        with torch.autocast(x.device.type, enabled=False):
            return self.features(self.conv_sep(x.to(self.conv_sep.layers[0].weight.dtype)))


def mbf(embedding_size: int = 512, size: int = 112) -> MobileFaceNet:
    """MobileFaceNet of arcface_torch: 2.1 M parameters at 112 pixels."""
    return MobileFaceNet((1, 4, 6, 2), 2, embedding_size, size)


def mbf_large(embedding_size: int = 512, size: int = 112) -> MobileFaceNet:
    """Large MobileFaceNet of arcface_torch: 6.3 M parameters at 112 pixels."""
    return MobileFaceNet((2, 8, 12, 4), 4, embedding_size, size)
