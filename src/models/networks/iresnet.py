"""IResNet, the residual networks of ArcFace.

Deng et al. 2019, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", section 3.1, on the
improved residual block of Han et al. 2017, "Deep Pyramidal Residual Networks": batch norm first, no activation
after the sum. Names of weights are those of arcface_torch, so its published ``.pt`` files load strictly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.models.networks.backbone import Backbone

__all__ = ["IResNet", "iresnet18", "iresnet34", "iresnet50", "iresnet100", "iresnet200"]


class SqueezeExcitation(nn.Module):
    """Scales each channel by a factor in 0 to 1 that is computed from the means of all channels (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // 16, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 16, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to the same shape."""
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(means))))


class ResidualBlock(nn.Module):
    """BN, 3x3 convolution, BN, PReLU, strided 3x3 convolution, BN, perhaps squeeze-excitation, plus the shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, squeeze_excitation: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.se_block: nn.Module = SqueezeExcitation(channels) if squeeze_excitation else nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to [B,C',H/stride,W/stride]."""
        residual = self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x)))))
        return self.se_block(self.bn3(residual)) + self.downsample(x)


class IResNet(Backbone):
    """Four stages of residual blocks, then one linear layer over the whole last feature map.

    Args:
        blocks: Number of residual blocks in each of the four stages.
        embedding_size: Length D of the embedding.
        size: Height and width of the images in pixels, a multiple of 16.
        dropout: Probability of dropping an entry of the last feature map.
        squeeze_excitation: Weigh the channels in each block, as the variants "with SE" do.

    Raises:
        UserError: If ``size`` is not a multiple of 16.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        embedding_size: int = 512,
        size: int = 112,
        dropout: float = 0.0,
        squeeze_excitation: bool = False,
    ) -> None:
        super().__init__(embedding_size, size)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        self.layer1 = self._stage(64, 64, blocks[0], squeeze_excitation)
        self.layer2 = self._stage(64, 128, blocks[1], squeeze_excitation)
        self.layer3 = self._stage(128, 256, blocks[2], squeeze_excitation)
        self.layer4 = self._stage(256, 512, blocks[3], squeeze_excitation)
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(512 * self.reduced_side(size) ** 2, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)
        self.features.weight.requires_grad = False  # its scale would only rescale the norm of the embedding
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, 0.1)

    @staticmethod
    def _stage(in_channels: int, channels: int, blocks: int, squeeze_excitation: bool) -> nn.Sequential:
        first = ResidualBlock(in_channels, channels, 2, squeeze_excitation)
        return nn.Sequential(
            first, *(ResidualBlock(channels, channels, 1, squeeze_excitation) for _ in range(1, blocks))
        )

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings; the linear layer and the last batch norm never run in half precision."""
        x = self.prelu(self.bn1(self.conv1(images)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.dropout(self.bn2(x).flatten(1))
        with torch.autocast(x.device.type, enabled=False):
            return self.features(self.fc(x.to(self.fc.weight.dtype)))


def iresnet18(
    embedding_size: int = 512, size: int = 112, dropout: float = 0.0, squeeze_excitation: bool = False
) -> IResNet:
    """IResNet-18: 24.0 M parameters at 112 pixels."""
    return IResNet((2, 2, 2, 2), embedding_size, size, dropout, squeeze_excitation)


def iresnet34(
    embedding_size: int = 512, size: int = 112, dropout: float = 0.0, squeeze_excitation: bool = False
) -> IResNet:
    """IResNet-34: 34.1 M parameters at 112 pixels."""
    return IResNet((3, 4, 6, 3), embedding_size, size, dropout, squeeze_excitation)


def iresnet50(
    embedding_size: int = 512, size: int = 112, dropout: float = 0.0, squeeze_excitation: bool = False
) -> IResNet:
    """IResNet-50, known as R50: 43.6 M parameters at 112 pixels."""
    return IResNet((3, 4, 14, 3), embedding_size, size, dropout, squeeze_excitation)


def iresnet100(
    embedding_size: int = 512, size: int = 112, dropout: float = 0.0, squeeze_excitation: bool = False
) -> IResNet:
    """IResNet-100, known as R100: 65.2 M parameters at 112 pixels."""
    return IResNet((3, 13, 30, 3), embedding_size, size, dropout, squeeze_excitation)


def iresnet200(
    embedding_size: int = 512, size: int = 112, dropout: float = 0.0, squeeze_excitation: bool = False
) -> IResNet:
    """IResNet-200, known as R200: 118.8 M parameters at 112 pixels."""
    return IResNet((6, 26, 60, 6), embedding_size, size, dropout, squeeze_excitation)
