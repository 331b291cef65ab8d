"""What all map-style face datasets share: labels, skipping of unreadable images, checks of the classes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from src.datamodules.decode import BadImage
from src.datamodules.sample import Sample
from src.errors import UserError

__all__ = ["ImageDataset"]

logger = logging.getLogger(__name__)


class ImageDataset(Dataset[Sample | None], ABC):
    """Random access to labelled face images.

    An item is a sample without batch axis, images uint8 [H, W, C]; or None if its image cannot be read. Which
    images could not be read is kept in shared memory, so that loader processes report to the main one.

    Args:
        name: Of the dataset, for messages.
        labels: int [N], class numbers.
        classes: Class name per class number.
        fingerprint: Changes whenever the list of samples does.
        max_bad_fraction: Largest fraction of unreadable images that is tolerated.
    """

    def __init__(
        self, name: str, labels: np.ndarray, classes: Sequence[str], fingerprint: str, max_bad_fraction: float
    ) -> None:
        self.name = name
        self.labels = labels
        self.classes = list(classes)
        self.fingerprint = fingerprint
        self.max_bad_fraction = max_bad_fraction
        self.unreadable = torch.zeros(len(labels), dtype=torch.bool).share_memory_()

    @abstractmethod
    def key(self, index: int) -> str:
        """Name of a sample, unique within the dataset."""

    @abstractmethod
    def read(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            BadImage: It cannot be read; the message gives the reason.
        """

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample | None:
        """Read one sample; None, and a mark in `unreadable`, if that fails."""
        try:
            return self.read(index)
        except BadImage:
            self.unreadable[index] = True
            return None

    def check_readable(self) -> None:
        """Stop when too many images turned out unreadable.

        Raises:
            UserError: Names the first of them and the reasons.
        """
        count = int(self.unreadable.sum())
        if count <= self.max_bad_fraction * len(self):
            return
        raise UserError(
            f"{self.name}: {count} of {len(self)} images so far cannot be read, more than "
            f"max_bad_fraction={self.max_bad_fraction} allows. First: {'; '.join(self._describe_unreadable(3))}. "
            "Repair or remove them, or raise datamodule.max_bad_fraction."
        )

    def report_unreadable(self) -> None:
        """Log how many images were skipped, if any were."""
        if count := int(self.unreadable.sum()):
            first = "; ".join(self._describe_unreadable(3))
            logger.warning("%s: skipped %d of %d images that cannot be read: %s", self.name, count, len(self), first)

    def _describe_unreadable(self, limit: int) -> list[str]:
        descriptions = []
        # A copy: worker processes still write to the original, and nonzero fails when its count changes meanwhile.
        for index in self.unreadable.clone().nonzero()[:limit, 0].tolist():
            try:
                self.read(index)
                descriptions.append(f"{self.key(index)}: readable again")
            except BadImage as error:
                descriptions.append(f"{self.key(index)}: {error}")
        return descriptions

    def check_classes(self) -> None:
        """Check that identities can be learned from this dataset.

        Raises:
            UserError: Only one class, or no class with two images.
        """
        counts = np.bincount(self.labels)
        counts = counts[counts > 0]
        if len(counts) < 2:
            raise UserError(
                f"{self.name}: only one class ({self.classes[int(self.labels[0])]!r}); telling identities apart needs "
                "at least two. Is the folder one level too deep?"
            )
        if counts.max() < 2:
            raise UserError(
                f"{self.name}: each of the {len(counts)} classes has a single image, so no identity can be learned; "
                "expected several images per class"
            )
        if single := int((counts == 1).sum()):
            logger.warning("%s: %d of %d classes have a single image", self.name, single, len(counts))
