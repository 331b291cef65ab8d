"""SphereFace-20 without batch norm, the network of Liu et al. 2017, "SphereFace", as OpenSphere publishes it.

Names of weights are OpenSphere's, so its releases load strictly, with or without the ``module.`` in front. Two
networks go by these names and shapes, and a file does not tell which of them it was trained as:

* ``before_sum``, x + relu(F(x)): the paper's, and OpenSphere's ``sfnet20_deprecated``, which its VGGFace2 configs use;
* ``after_sum``, relu(x + F(x)): OpenSphere's ``sfnet20``, and the network in the gender-angular method's own code.

Evaluate a file on LFW before building on it: in the wrong order it still loads, and recognises much worse.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from src.errors import check_choice
from src.models.networks.backbone import Backbone

__all__ = ["RESIDUAL_ORDERS", "SphereFaceNet", "sfnet20"]

RESIDUAL_ORDERS = ("before_sum", "after_sum")


class DownsamplingBlock(nn.Module):
    """A strided 3x3 convolution and ReLU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to [B,C',H/2,W/2]."""
        return torch.relu(self.conv1(x))


class PlainResidualBlock(nn.Module):
    """3x3 convolution, ReLU, 3x3 convolution, plus the input; the second ReLU comes before or after the sum."""

    def __init__(self, channels: int, residual_order: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self._relu_before_sum = residual_order == "before_sum"

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to the same shape."""
        residual = self.conv2(torch.relu(self.conv1(x)))
        return x + torch.relu(residual) if self._relu_before_sum else torch.relu(x + residual)

    def extra_repr(self) -> str:
        """The order of ReLU and sum, which the weights do not show."""
        return "relu_before_sum" if self._relu_before_sum else "relu_after_sum"


class SphereFaceNet(Backbone):
    """Four stages of a strided convolution and residual blocks, then one linear layer over the whole last feature map.

    Args:
        blocks: Number of residual blocks in each of the four stages.
        embedding_size: Length D of the embedding.
        size: Height and width of the images in pixels, a multiple of 16.
        residual_order: ``"before_sum"`` or ``"after_sum"``, see the module's description.

    Raises:
        UserError: If ``size`` is not a multiple of 16, or there is no such ``residual_order``.
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        embedding_size: int = 512,
        size: int = 112,
        residual_order: str = "before_sum",
    ) -> None:
        super().__init__(embedding_size, size)
        check_choice("model.backbone.residual_order", residual_order, RESIDUAL_ORDERS)
        self.residual_order = residual_order
        self.layer1 = self._stage(3, 64, blocks[0], residual_order)
        self.layer2 = self._stage(64, 128, blocks[1], residual_order)
        self.layer3 = self._stage(128, 256, blocks[2], residual_order)
        self.layer4 = self._stage(256, 512, blocks[3], residual_order)
        self.fc = nn.Linear(512 * self.reduced_side(size) ** 2, embedding_size)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stage(in_channels: int, channels: int, blocks: int, residual_order: str) -> nn.Sequential:
        residual = (PlainResidualBlock(channels, residual_order) for _ in range(blocks))
        return nn.Sequential(DownsamplingBlock(in_channels, channels), *residual)

    def extra_repr(self) -> str:
        """The order of the residual blocks, which their weights do not tell."""
        return f"residual_order={self.residual_order}"

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings; the linear layer never runs in half precision."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(images)))).flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            return self.fc(x.to(self.fc.weight.dtype))


def sfnet20(embedding_size: int = 512, size: int = 112, residual_order: str = "before_sum") -> SphereFaceNet:
    """SphereFace-20: 24.5 M parameters at 112 pixels, the larger half of them in the linear layer."""
    return SphereFaceNet((1, 2, 4, 1), embedding_size, size, residual_order)
