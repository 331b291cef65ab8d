"""The privacy layer of Rezgui et al. 2024, and a frozen backbone with it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.errors import UserError, check_choice

__all__ = ["Init", "PrivacyLayer", "ProtectedBackbone"]

Init = Literal["default", "identity"]


class PrivacyLayer(nn.Module):
    """Linear layers with LeakyReLU between them: from embeddings to templates of the same length.

    Rezgui, Strisciuglio and Veldhuis 2024, "Gender Privacy Angular Constraints for Face Recognition", IEEE T-BIOM 6(3);
    its two layers of 512 have 525,312 parameters. The names of the weights are the authors', ``proj.0.weight`` and so
    on, so that their files load.

    Args:
        size: Length D of an embedding and of a template.
        layers: Number of linear layers.
        slope: Of LeakyReLU below zero.
        init: ``"default"`` as torch initialises linear layers, which is the paper's; ``"identity"`` starts from weights
            that are the identity matrix and biases of zero, close to the embeddings as they are.

    Raises:
        UserError: There is no layer, or ``init`` is neither.
    """

    def __init__(self, size: int, layers: int = 2, slope: float = 0.2, init: Init = "default") -> None:
        super().__init__()
        check_choice("model.layer.init", init, get_args(Init))
        if layers < 1:
            raise UserError(f"model.layer.layers={layers}: expected at least 1")
        self.embedding_size = size
        linear = [nn.Linear(size, size) for _ in range(layers)]
        self.proj = nn.Sequential(*list(chain.from_iterable((layer, nn.LeakyReLU(slope)) for layer in linear))[:-1])
        if init == "identity":
            for layer in linear:
                nn.init.eye_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, embedding: Tensor) -> Tensor:
        """Templates [B, D], not normalised, of embeddings [B, D] of unit length."""
        return self.proj(embedding)


class ProtectedBackbone(nn.Module):
    """A frozen backbone whose embeddings, scaled to unit length, go through a privacy layer.

    The backbone has no gradient and stays in evaluation mode whatever ``train`` is called with: batch statistics would
    change what was learnt elsewhere (the reference leaves evaluation mode after its first validation).

    Args:
        backbone: Network from float32 [B, 3, S, S] in [-1, 1] RGB to raw embeddings [B, D], with ``embedding_size``.
        layer: Called with ``size``, the length D of an embedding; yields the network from embeddings to templates.

    Attributes:
        embedding_size: Length D of a template.
        size: Height and width S of the images in pixels; None if the backbone does not tell.

    Raises:
        UserError: The backbone does not tell the length of its embeddings.
    """

    def __init__(self, backbone: nn.Module, layer: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()
        if backbone.embedding_size is None:
            raise UserError(
                "model.backbone: the file does not tell the length of its embeddings, which the layer needs"
            )
        self.layer = layer(size=backbone.embedding_size)
        self.embedding_size = self.layer.embedding_size
        self.size = getattr(backbone, "size", None)

    def train(self, mode: bool = True) -> ProtectedBackbone:
        """Set the mode of the privacy layer; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def embed(self, image: Tensor) -> Tensor:
        """Embeddings [B, D] of unit length by the frozen backbone, without gradient."""
        with torch.no_grad():
            return F.normalize(self.backbone(image).float())

    def forward(self, image: Tensor) -> Tensor:
        """Templates [B, D], not normalised, of images float32 [B, 3, S, S] in [-1, 1] RGB."""
        return self.layer(self.embed(image))
