"""Whether images in visible light and in near infrared show the same face: do their edges lie in the same places?"""

from __future__ import annotations

import torch.nn.functional as F
from kornia.color import rgb_to_grayscale
from kornia.filters import sobel
from torch import Tensor

from src.errors import UserError

__all__ = ["EdgeAgreement", "edge_agreement", "edge_maps"]

_FLAT = 1e-4  # length of an edge map below which an image has no edges


def edge_maps(images: Tensor) -> Tensor:
    """Strength of edges (Sobel), as vectors whose products are correlations.

    Args:
        images: float [N, 1, H, W], or [N, 3, H, W] RGB, of which the luminance counts.

    Returns:
        float32 [N, H * W], of mean 0 and length 1; zeros for an image without edges.
    """
    grey = rgb_to_grayscale(images.float()) if images.shape[1] == 3 else images.float()
    strength = sobel(grey).flatten(1)
    return F.normalize(strength - strength.mean(dim=1, keepdim=True), eps=_FLAT)


class EdgeAgreement:
    """Correlation of the edges of pairs, and of pairs that do not belong together, as batches stream by.

    The image in visible light is also compared with the near-infrared image of the pair before it, whatever the batch,
    so that N pairs give N - 1 of those. Pairs should come in random order: neighbours that show one person agree.

    Attributes:
        pairs: float32 [B] correlations in [-1, 1], one tensor for each batch.
        shuffled: Likewise, of images that do not belong together.
    """

    def __init__(self) -> None:
        self.pairs: list[Tensor] = []
        self.shuffled: list[Tensor] = []
        self._last: Tensor | None = None

    def add(self, vis: Tensor, nir: Tensor) -> None:
        """Take a batch of pairs.

        Args:
            vis: float [N, 3, H, W].
            nir: float [N, 1, H, W] of the same faces.

        Raises:
            UserError: Their numbers or sizes differ.
        """
        if len(vis) != len(nir) or vis.shape[2:] != nir.shape[2:]:
            raise UserError(
                f"nir: expected {len(vis)} images of {list(vis.shape[2:])} pixels as in vis, "
                f"found {len(nir)} of {list(nir.shape[2:])}"
            )
        first, second = edge_maps(vis), edge_maps(nir)
        self.pairs.append((first * second).sum(dim=1).cpu())
        others = second.roll(1, dims=0)
        if self._last is not None:
            others[0] = self._last
        self.shuffled.append((first * others).sum(dim=1).cpu()[self._last is None :])
        self._last = second[-1]


def edge_agreement(vis: Tensor, nir: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation of the edges of pairs and, for comparison, of pairs that do not belong together.

    Args:
        vis: float [N, 3, H, W].
        nir: float [N, 1, H, W] of the same faces.

    Returns:
        float32 [N] of the pairs and [N - 1] of each image in visible light with the near-infrared image before it.
        Faces that all look ahead agree somewhat anyway; what the pairs have more comes of showing one face.

    Raises:
        UserError: Their numbers or sizes differ.
    """
    stream = EdgeAgreement()
    stream.add(vis, nir)
    return stream.pairs[0], stream.shuffled[0]
