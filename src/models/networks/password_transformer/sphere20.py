"""The recogniser that the password transformer is trained against, SphereFace-20 (Liu et al. 2017)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from src.errors import UserError

__all__ = ["SphereFace20"]

_CHANNELS = (64, 128, 256, 512)
_PAIRS = (1, 2, 4, 1)
"""Residual pairs of convolutions in each stage, after the strided one."""


class SphereFace20(nn.Module):
    """Convolutions with PReLU, residual pairs, and a linear layer; no norms: 22.7 M parameters.

    This is the network of the PyTorch port whose ``sphere20a`` weights the authors of the password transformer used,
    with PReLU of a slope for each channel and crops of 112 x 96 pixels; `src.models.networks.sphereface` is
    OpenSphere's. Names of weights are those of the port, the classifier ``fc6`` apart, which is a head.

    Args:
        feature_layer: Where features are taken: after stage 1 to 4, flattened, or 5, the embedding.

    Attributes:
        embedding_size: Length of the embedding.

    Raises:
        UserError: There is no such layer.
    """

    embedding_size = 512

    def __init__(self, feature_layer: int = 5) -> None:
        super().__init__()
        if feature_layer not in range(1, 6):
            raise UserError(f"model.recogniser.feature_layer: expected 1 to 5, found {feature_layer}")
        self.feature_layer = feature_layer
        for stage, ((before, channels), pairs) in enumerate(zip(pairwise((3, *_CHANNELS)), _PAIRS, strict=True), 1):
            for layer in range(1, 2 * pairs + 2):
                first = layer == 1
                convolution = nn.Conv2d(before if first else channels, channels, 3, stride=2 if first else 1, padding=1)
                self.add_module(f"conv{stage}_{layer}", convolution)
                self.add_module(f"relu{stage}_{layer}", nn.PReLU(channels))
        self.fc5 = nn.Linear(512 * 7 * 6, self.embedding_size)

    def _stage(self, x: Tensor, stage: int) -> Tensor:
        def layer(x: Tensor, number: int) -> Tensor:
            convolved = self.get_submodule(f"conv{stage}_{number}")(x)
            return self.get_submodule(f"relu{stage}_{number}")(convolved)

        x = layer(x, 1)
        for pair in range(_PAIRS[stage - 1]):
            x = x + layer(layer(x, 2 * pair + 2), 2 * pair + 3)
        return x

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Embed aligned faces.

        Args:
            crops: Float [B, 3, 112, 96] in [-1, 1] BGR.

        Returns:
            Embeddings [B, 512], not normalised, and the features [B, D] of ``feature_layer``.

        Raises:
            UserError: The crops are of another size.
        """
        if crops.shape[1:] != (3, 112, 96):
            raise UserError(f"SphereFace20: expected crops [B, 3, 112, 96], found {list(crops.shape)}")
        x = feature = crops
        for stage in range(1, len(_PAIRS) + 1):
            x = self._stage(x, stage)
            if stage == self.feature_layer:
                feature = x.flatten(1)
        embedding = self.fc5(x.flatten(1))
        return embedding, embedding if self.feature_layer == 5 else feature
