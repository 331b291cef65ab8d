"""A network of someone else as a face embedding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.preprocessing import Preprocessing
from src.models.networks.weights import load_weights

__all__ = ["ForeignNetwork", "first_embedding"]


class ForeignNetwork(nn.Module):
    """Any `nn.Module` from images to embeddings, with its weights and the images it was trained on.

    The network is run once on a black image, so that one that does not fit is refused before any work.

    Args:
        network: Maps float32 [B, 3, S, S] to raw embeddings [B, D], or to a tuple or list whose first tensor they are,
            as AdaFace's (embedding, norm).
        weights: File to fill it from, see `src.models.networks.weights.load_weights`; None leaves it as it is.
        key: Where in the file the state dict is, dotted; None finds the usual places.
        prefix: What the names begin with in the file and not in the network, one or several; None drops the prefixes of
            the usual wrappers.
        size: See `Preprocessing`, as the next three.
        color: Order of the channels.
        mean: Of the normalisation.
        std: Of the normalisation.

    Attributes:
        embedding_size: Length D of an embedding.
        size: Height and width S of the images, in pixels.

    Raises:
        UserError: ``network`` is no network, its weights cannot be loaded, or it does not embed such images.
    """

    def __init__(
        self,
        network: nn.Module,
        weights: Path | str | None = None,
        key: str | None = None,
        prefix: str | Sequence[str] | None = None,
        size: int = 112,
        color: str = "rgb",
        mean: float | Sequence[float] = 127.5,
        std: float | Sequence[float] = 127.5,
    ) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise UserError(f"model.backbone.network: expected a torch.nn.Module, found a {type(network).__name__}")
        self.network = network
        self.preprocessing = Preprocessing(size, color, mean, std)
        self.size = size
        if weights is not None:
            _load(network, weights, key, prefix)
        self.embedding_size = self._probe()

    def forward(self, images: Tensor) -> Tensor:
        """Raw embeddings [B, D] of images float32 [B, 3, S, S] in [-1, 1] RGB.

        Raises:
            UserError: The images are not S pixels high and wide.
        """
        return first_embedding(self.network(self.preprocessing(images)))

    def _probe(self) -> int:
        """Length of the embedding of a black image."""
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return self(torch.full((1, 3, self.size, self.size), -1.0)).shape[1]
        except UserError:
            raise
        except Exception as error:  # whatever the code of someone else raises
            raise UserError(
                f"{type(self.network).__name__} fails on a float32 [1, 3, {self.size}, {self.size}] image: {error}\n"
                "Set datamodule.size to the side of the images it takes."
            ) from error
        finally:
            self.train(was_training)


def first_embedding(output: Any) -> Tensor:
    """Embeddings [B, D] in what a network returns: the tensor itself, or the first of a tuple or list.

    Raises:
        UserError: That is no tensor of two dimensions.
    """
    embedding = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(embedding, Tensor) or embedding.ndim != 2:
        found = f"{list(embedding.shape)}" if isinstance(embedding, Tensor) else f"a {type(embedding).__name__}"
        raise UserError(
            f"the network returns {found}; expected embeddings [B, D], or a tuple that begins with them. "
            "Wrap it in an nn.Module that returns them"
        )
    return embedding


def _load(network: nn.Module, weights: Path | str, key: str | None, prefix: str | Sequence[str] | None) -> None:
    try:
        load_weights(network, weights, key=key, prefix=prefix)
    except UserError as error:
        raise UserError(
            f"{error}\nmodel.backbone.key names the part of the file that is the state dict; model.backbone.prefix "
            "what names begin with in the file only."
        ) from error
