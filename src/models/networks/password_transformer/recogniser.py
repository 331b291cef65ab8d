"""A recogniser of faces that are not yet aligned."""

from __future__ import annotations

from torch import Tensor, nn

from src.models.networks.backbone import Backbone
from src.models.networks.password_transformer.alignment import FaceAlignment
from src.models.networks.password_transformer.sphere20 import SphereFace20

__all__ = ["AlignedRecogniser"]


class AlignedRecogniser(nn.Module):
    """Aligns faces and embeds them, all of it differentiable.

    Args:
        backbone: `SphereFace20`, or any backbone for square RGB crops such as an IResNet.
        align: See `FaceAlignment`; ``"normalized"`` is the published one.

    Attributes:
        alignment: What crops the backbone gets.
        embedding_size: Length of an embedding.
    """

    def __init__(self, backbone: SphereFace20 | Backbone, align: str = "pixel") -> None:
        super().__init__()
        self.backbone = backbone
        self.embedding_size = backbone.embedding_size
        if isinstance(backbone, SphereFace20):
            self.alignment = FaceAlignment(112, 96, align, "bgr")
        else:
            self.alignment = FaceAlignment(backbone.size, backbone.size, align)

    def forward(self, images: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Embed faces.

        Args:
            images: Float [B, 3, H, W] in [-1, 1] RGB.
            grid: Of `FaceAlignment.grid`, the same for all images made of the same faces.

        Returns:
            Embeddings [B, D] for a classification head, not normalised, and features [B, F] to compare faces by; the
            same, unless the backbone takes its features elsewhere.
        """
        output = self.backbone(self.alignment.crop(images, grid))
        return output if isinstance(output, tuple) else (output, output)
