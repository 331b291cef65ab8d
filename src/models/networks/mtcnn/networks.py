"""The three networks of MTCNN (Zhang et al. 2016, figure 2), by the names of the published files."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["OutputNetwork", "ProposalNetwork", "RefinementNetwork"]


class ProposalNetwork(nn.Module):
    """P-Net: whether there is a face, asked of every square of 12 pixels at every second pixel.

    Attributes:
        SIDE: Of the squares, in pixels.
        STRIDE: From one square to the next, in pixels.
    """

    SIDE = 12
    STRIDE = 2

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.conv4_1 = nn.Conv2d(32, 2, 1)
        self.conv4_2 = nn.Conv2d(32, 4, 1)

    @staticmethod
    def rows(height: int) -> int:
        """How many rows of squares there are on an image of at least 12 rows of pixels.

        Of an odd number of rows the last square reaches one pixel beyond the image.
        """
        return (height - 1) // 2 - 4

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Look for faces.

        Args:
            images: float32 [N, 3, H, W] in [-1, 1], of at least 12 pixels.

        Returns:
            Probabilities [N, h, w], and offsets [N, 4, h, w], see `src.models.networks.mtcnn.boxes.regress`.
        """
        x = F.max_pool2d(self.prelu1(self.conv1(images)), 2, ceil_mode=True)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return _second_of_two(self.conv4_1(x)), self.conv4_2(x)


class RefinementNetwork(nn.Module):
    """R-Net: whether a square of 24 pixels shows a face, and where exactly.

    Attributes:
        SIDE: Of the squares, in pixels.
    """

    SIDE = 24

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(64 * 3 * 3, 128), nn.PReLU(128)
        self.dense5_1 = nn.Linear(128, 2)
        self.dense5_2 = nn.Linear(128, 4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Look at squares.

        Args:
            images: float32 [N, 3, 24, 24] in [-1, 1].

        Returns:
            Probabilities [N] and offsets [N, 4].
        """
        x = F.max_pool2d(self.prelu1(self.conv1(images)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = self.prelu4(self.dense4(_flatten(self.prelu3(self.conv3(x)))))
        return _second_of_two(self.dense5_1(x)), self.dense5_2(x)


class OutputNetwork(nn.Module):
    """O-Net: whether a square of 48 pixels shows a face, where exactly, and its landmarks.

    Attributes:
        SIDE: Of the squares, in pixels.
    """

    SIDE = 48

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(128 * 3 * 3, 256), nn.PReLU(256)
        self.dense6_1 = nn.Linear(256, 2)
        self.dense6_2 = nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Look at squares.

        Args:
            images: float32 [N, 3, 48, 48] in [-1, 1].

        Returns:
            Probabilities [N], offsets [N, 4] and landmarks [N, 5, 2]: (x, y) as fractions of the square.
        """
        x = F.max_pool2d(self.prelu1(self.conv1(images)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu2(self.conv2(x)), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.prelu3(self.conv3(x)), 2, ceil_mode=True)
        x = self.prelu5(self.dense5(_flatten(self.prelu4(self.conv4(x)))))
        landmarks = self.dense6_3(x).unflatten(1, (2, 5)).transpose(1, 2)  # first every x, then every y
        return _second_of_two(self.dense6_1(x)), self.dense6_2(x), landmarks


def _second_of_two(logits: Tensor) -> Tensor:
    """Probability of the second class, along dimension 1."""
    return torch.softmax(logits, 1)[:, 1]


def _flatten(x: Tensor) -> Tensor:
    """Columns before rows before channels, as in the MATLAB and Caffe files that the weights come from."""
    return x.permute(0, 3, 2, 1).flatten(1)
