"""Any network of the timm library as a face recogniser."""

from __future__ import annotations

import difflib
from typing import Any

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models.networks.backbone import Backbone

__all__ = ["TimmBackbone"]


class TimmBackbone(Backbone):
    """A timm network without its classifier, then a linear layer and batch norm to the embedding.

    Images stay in [-1, 1] whatever the normalisation of the pretrained weights; the first layer adapts to it.

    Args:
        name: Model name as in ``timm.list_models()``, with or without the tag of its pretrained weights.
        embedding_size: Length D of the embedding.
        size: Height and width of the images in pixels. Networks of a fixed input size, such as vision
            transformers, are built for it.
        pretrained: Start from timm's weights, which are downloaded on first use.
        **timm_kwargs: Passed to ``timm.create_model``, such as ``drop_path_rate``.

    Raises:
        UserError: If timm has no such model, or refuses the arguments.
    """

    def __init__(
        self,
        name: str,
        embedding_size: int = 512,
        size: int = 112,
        pretrained: bool = False,
        **timm_kwargs: Any,
    ) -> None:
        import timm

        super().__init__(embedding_size, size)
        if not timm.is_model(name):
            close = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.4)
            raise UserError(f"timm has no model {name!r}; its nearest names: {', '.join(close) or 'none'}")
        configuration = timm.get_pretrained_cfg(name)
        if configuration is not None and configuration.fixed_input_size:
            timm_kwargs.setdefault("img_size", size)
        try:
            trunk: Any = timm.create_model(name, pretrained=pretrained, num_classes=0, **timm_kwargs)
        except (TypeError, AssertionError) as error:
            raise UserError(f"timm cannot build {name!r} at size {size} with {timm_kwargs}: {error}") from error
        self.trunk = trunk
        self.fc = nn.Linear(trunk.head_hidden_size, embedding_size)
        self.features = nn.BatchNorm1d(embedding_size)

    def embed(self, images: Tensor) -> Tensor:
        """Compute the embeddings; the linear layer and the last batch norm never run in half precision."""
        x = self.trunk(images)
        with torch.autocast(x.device.type, enabled=False):
            return self.features(self.fc(x.to(self.fc.weight.dtype)))
