"""What every method that yields face embeddings has in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import lightning as L
import torch
from torch import Tensor, nn

from src.datamodules.face_datamodule import FaceDataModule
from src.eval.matching import Matcher, SymbolMatcher
from src.models.networks.weights import fingerprint, load_weights
from src.ops.hashing import RankHash

__all__ = ["EmbeddingBatch", "EmbeddingModule"]


class EmbeddingBatch(TypedDict):
    """Embeddings of some images of a benchmark.

    ``index`` int64 [B] position of each image in its benchmark, ``embedding`` and ``flipped`` float32 [B, D] raw
    embeddings of the images and of their mirror images.
    """

    index: Tensor
    embedding: Tensor
    flipped: Tensor


class EmbeddingModule(L.LightningModule):
    """A LightningModule whose backbone embeds faces and which can therefore be benchmarked.

    Args:
        backbone: Network from float32 [B, 3, S, S] in [-1, 1] RGB to raw embeddings [B, D]; it has the attribute
            ``embedding_size``.

    Attributes:
        backbone_file: Where `load_backbone` took the weights from that training starts with.
        alphabet: None if the backbone yields embeddings; q if it yields codes, uint8 [B, m] with values 0..q-1.
    """

    alphabet: int | None = None

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.backbone_file: str | None = None

    def forward(self, image: Tensor) -> Tensor:
        """Raw embeddings [B, D] of images float32 [B, 3, S, S] in [-1, 1] RGB."""
        return self.backbone(image)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int, dataloader_idx: int = 0) -> EmbeddingBatch:
        """Embed the images of a benchmark and their mirror images in one pass."""
        image = batch["image"]
        embedding, flipped = self(torch.cat([image, image.flip(-1)])).chunk(2)
        return EmbeddingBatch(index=batch["index"], embedding=embedding, flipped=flipped)

    @property
    def matcher(self) -> Matcher | None:
        """How two of what the backbone yields are compared: codes by their equal symbols; None: by their cosine."""
        return None if self.alphabet is None else SymbolMatcher(self.alphabet)

    @property
    def matchers(self) -> Mapping[str, Matcher]:
        """More ways of comparing, each evaluated too, by the name that its rows get."""
        return {}

    def fingerprint(self) -> str:
        """Hex digest of the network that embeds: its structure and its weights and buffers."""
        return fingerprint(self.backbone)

    def reference(self) -> EmbeddingModule | None:
        """What this method's embeddings are to be compared with, such as those that it protects; None: nothing."""
        return None

    def from_reference(self, embeddings: Tensor) -> Tensor | None:
        """What the backbone yields for images that `reference` makes ``embeddings`` [N, D] of, on the CPU.

        None where that cannot be told: the images have to be embedded.
        """
        return None

    def rank_hash(self) -> RankHash | None:
        """What makes codes of the embeddings of `reference`; None where no codes are made."""
        return None

    def load_backbone(self, path: Path | str) -> None:
        """Load the backbone's weights, to start training from, from a checkpoint of ours or a public file of weights.

        Raises:
            UserError: The file is missing or holds another network.
        """
        load_weights(self.backbone, path)
        self.backbone_file = str(Path(path).absolute())

    def check_ready(self, datamodule: FaceDataModule) -> None:
        """Raise UserError, before any long work, where training on this data could only fail."""

    def load_trained(self, path: Path | str, backbone_file: Path | str | None = None) -> None:
        """Load all that embeds from a checkpoint of this method.

        Args:
            path: The checkpoint, or a public file of weights.
            backbone_file: Where the parts that were not trained come from, if the checkpoint does not tell.

        Raises:
            UserError: A file is missing or holds another network.
        """
        load_weights(self.backbone, path)
