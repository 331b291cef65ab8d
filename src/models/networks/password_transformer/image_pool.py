"""A history of generated images, which keeps discriminators from forgetting."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["ImagePool"]


class ImagePool:
    """Gives a discriminator images of earlier iterations in place of half of the new ones (Shrivastava et al. 2017).

    It draws from PyTorch's global generator of the CPU. Images are kept on the CPU, without gradient.

    Args:
        size: How many are kept; 0 for none, so that only new images are given.
    """

    def __init__(self, size: int = 500) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor, count: int) -> Tensor:
        """Exchange some images for earlier ones and take some of all.

        While the pool is not full every image is kept and given back. Later each is, by the toss of a coin, given back
        or kept in place of a random earlier one, which is given instead.

        Args:
            images: New ones [N, C, H, W], in the order in which they are looked at.
            count: How many to return, up to N; chosen at random, in the same order.

        Returns:
            [count, C, H, W], where ``images`` are, without gradient.
        """
        new = images.detach()
        given = torch.stack([self._exchange(image) for image in new]) if self.size else new
        chosen = torch.randperm(len(given))[:count].sort().values
        return given[chosen.to(given.device)]

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.cpu().clone())
            return image
        if torch.rand(()) <= 0.5:
            return image
        slot = int(torch.randint(self.size, ()))
        earlier, self.images[slot] = self.images[slot], image.cpu().clone()
        return earlier.to(image.device)

    def state_dict(self) -> dict[str, Any]:
        """The images, for a checkpoint: ``images`` [n, C, H, W], or None before the first."""
        return {"images": torch.stack(self.images) if self.images else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the images of `state_dict`."""
        self.images = [] if state["images"] is None else list(state["images"].unbind())
