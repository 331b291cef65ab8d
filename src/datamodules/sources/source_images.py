"""Images of whole collections, to embed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from src.datamodules.alignment import centre_crop
from src.datamodules.decode import BadImage, decode
from src.datamodules.evaluation_images import NumberedImage
from src.datamodules.sources.source import FaceSource

__all__ = ["SourceImages"]


class SourceImages(Dataset[NumberedImage]):
    """The visible images of some collections, one collection after the other, decoded one by one.

    They are not aligned: the largest square in the middle is resized, as it is for training.

    Args:
        sources: The collections.
        size: Side of the images that the network takes, in pixels.
    """

    def __init__(self, sources: Sequence[FaceSource], size: int) -> None:
        self.sources = sources
        self.size = size
        self._ends = np.cumsum([len(source) for source in sources])
        self.to_embed = np.arange(len(self))

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> NumberedImage:
        """Load image `index`.

        Raises:
            BadImage: It cannot be read; the message names it.
        """
        number = int(np.searchsorted(self._ends, index, side="right"))
        source = self.sources[number]
        row = index - int(self._ends[number]) + len(source)
        try:
            image = decode(source.content(row))
        except BadImage as error:
            raise BadImage(f"{source.name}: {source.key(row)}: {error}") from error
        return NumberedImage(image=centre_crop(image, self.size), index=index)
