"""What every face-recognition backbone promises."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from src.errors import UserError

__all__ = ["Backbone"]


class Backbone(nn.Module, ABC):
    """A network from aligned face images to embeddings.

    A subclass implements `embed`. Embeddings are raw, not of unit length: the losses and the evaluation
    normalise them, and some losses read their norm.

    Attributes:
        embedding_size: Length D of an embedding.
        size: Height and width S of the images, in pixels.
    """

    def __init__(self, embedding_size: int, size: int) -> None:
        super().__init__()
        self.embedding_size = embedding_size
        self.size = size

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings [B,D] of images [B,3,S,S]."""

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch of images.

        Args:
            images: float32 [B,3,S,S], RGB in [-1, 1].

        Returns:
            float32 [B,D], not normalised.

        Raises:
            UserError: If the images are not S pixels high and wide.
        """
        if images.shape[-2:] != (self.size, self.size):
            found = f"{images.shape[-2]}x{images.shape[-1]}"
            raise UserError(
                f"{type(self).__name__} was built for {self.size}x{self.size} images and was given {found}: "
                f"set the backbone's size to that of the data, or resize the data."
            )
        return self.embed(images)

    @staticmethod
    def reduced_side(size: int) -> int:
        """Side of the last feature map of a network that halves its input four times.

        Raises:
            UserError: If ``size`` is not a positive multiple of 16.
        """
        if size < 16 or size % 16:
            raise UserError(f"the backbone's size must be a multiple of 16 pixels, such as 112; got {size}")
        return size // 16
