"""Visible and near-infrared faces with identity features, for training generators."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from src.datamodules.decode import BadImage, decode
from src.datamodules.face_datamodule import FaceDataModule
from src.datamodules.label_bank import LabelBank
from src.datamodules.sources.source import FaceSource
from src.datamodules.sources.view import random_subset
from src.errors import UserError
from src.progress import image_progress

__all__ = ["PairedFacesDataModule", "check_images"]

_NAMED = 3


class PairedFacesDataModule(FaceDataModule):
    """Batches of pairs of images, square and of one size, that are mirrored together or not at all.

    Nothing is resized: a generator learns what is in the images, and whoever wants another size packs the images anew.

    Args:
        source: See `FaceDataModule`.
        size: Side of all images in pixels.
        fields: See there; without ``"feature"`` no features are needed.
        subset: Train on this many images, which the seed chooses; on all by default.
        **options: See `FaceDataModule`.

    Raises:
        UserError: A number is out of its range, or images are to be aligned.
    """

    def __init__(
        self,
        source: Callable[[], FaceSource],
        *,
        size: int,
        fields: Sequence[str] = ("image", "nir", "feature"),
        subset: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(self._open, size=size, fields=fields, **options)
        if subset is not None and subset < 1:
            raise UserError(f"datamodule.subset: expected null or at least 1, found {subset}")
        if self.align:
            raise UserError(
                "datamodule.align=true: pairs are trained on as they are; align them while they are packed, by "
                "privface prepare ... align=true"
            )
        self.collection = source
        self.subset = subset
        self._is_checked = False

    def _open(self) -> FaceSource:
        source = self.collection()
        return source if self.subset is None else random_subset(source, self.subset, self.seed)

    @cached_property
    def label_bank(self) -> LabelBank:
        """The features of all training images; mirroring an image leaves its feature as it is."""
        return LabelBank.of(self.dataset.source)

    def prepare_data(self) -> None:
        """Read everything once, so that training does not come to a stop at one image.

        Raises:
            UserError: See `check_images` and `LabelBank.of`.
        """
        if self._is_checked:
            return
        if "feature" in self.fields:
            _ = self.label_bank
        check_images(self.dataset.source, self.dataset.modalities, self.size)
        self._is_checked = True

    def setup(self, stage: str) -> None:
        """Nothing: any number of identities will do."""


def check_images(source: FaceSource, modalities: Sequence[str], size: int) -> None:
    """Check that all images of a collection can be read and are squares of one size.

    Shards that say so themselves are believed: every image was decoded when they were packed.

    Args:
        source: The collection.
        modalities: Which of its images.
        size: Side in pixels.

    Raises:
        UserError: Some are not.
    """
    if source.resolution == size:
        return

    def problem(row: int) -> str | None:
        for modality in modalities:
            try:
                height, width, _ = decode(source.content(row, modality), grey=modality == "nir").shape
            except BadImage as error:
                return f"{source.key(row)} ({modality}): {error}"
            if (height, width) != (size, size):
                return f"{source.key(row)} ({modality}): {width} x {height} pixels"
        return None

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as executor, image_progress() as progress:
        found = progress.track(executor.map(problem, range(len(source))), len(source), description="checking images")
        problems = [message for message in found if message]
    if problems:
        raise UserError(
            f"{source.name}: {len(problems)} of {len(source)} samples do not consist of readable images of "
            f"{size} x {size} pixels: {'; '.join(problems[:_NAMED])}. Repair or remove what cannot be read. Set "
            f"datamodule.size to the side of your images, or bring them to {size} pixels with privface prepare "
            f"source=vis_nir source.root={source.name} out=SHARDS size={size} and train with datamodule=vis_nir_shards."
        )
