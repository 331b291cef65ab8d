"""Images to embed: where each comes from, and how processes share them."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
import torch
from torch.utils.data import Dataset

from src.datamodules.alignment import align, centre_crop, resize
from src.datamodules.decode import BadImage, decode
from src.errors import UserError

__all__ = [
    "FILLER",
    "EncodedImage",
    "EvaluationImages",
    "ImageFile",
    "ImageShare",
    "ImageSource",
    "NumberedImage",
    "NumberedImages",
    "first_copies",
]

FILLER = -1
"""Index of an image that only evens out the shares of processes; its embedding is dropped."""

# Where the template falls in LFW's 250 x 250 photographs, on the average over their landmarks.
_LFW_SIDE, _LFW_LEFT, _LFW_TOP, _LFW_CROP = 250, 61, 52, 130


class NumberedImage(TypedDict):
    """``image`` uint8 [S, S, 3] RGB, and ``index``, its number in the benchmark."""

    image: torch.Tensor
    index: int


class NumberedImages(Protocol):
    """All images of a benchmark; the one at an index has that number."""

    to_embed: np.ndarray
    """Numbers of the images to embed, int64; the others are copies of these."""

    def __len__(self) -> int:
        """Their number N."""

    def __getitem__(self, index: int) -> NumberedImage:
        """Load image 0 .. N - 1."""


class ImageSource(Protocol):
    """Something an image can be loaded from."""

    def load(self, size: int) -> torch.Tensor:
        """Return the aligned face, uint8 [size, size, 3] RGB.

        Raises:
            BadImage: It cannot be read; the message names it.
        """

    def digest(self) -> bytes:
        """Bytes that change when the image does."""

    def identity(self) -> Hashable:
        """Something that only images with the same pixels share."""


@dataclass(frozen=True)
class EncodedImage:
    """An aligned face held in memory as JPEG or PNG bytes.

    Attributes:
        content: The file's bytes.
        name: For messages.
        crop: Take the middle of an image that is not square, instead of refusing it.
    """

    content: bytes
    name: str
    crop: bool = False

    def load(self, size: int) -> torch.Tensor:
        """Decode and, if needed, crop and resize the image; uint8 [size, size, 3] RGB."""
        try:
            image = decode(self.content)
        except BadImage as error:
            raise BadImage(f"{self.name}: {error}") from error
        height, width = image.shape[:2]
        if height != width and not self.crop:
            raise BadImage(f"{self.name}: {width} x {height} pixels, expected a square of an aligned face")
        return centre_crop(image, size)

    def digest(self) -> bytes:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content).digest()

    def identity(self) -> Hashable:
        """The content."""
        return self.content


@dataclass(frozen=True)
class ImageFile:
    """A face photograph on disk.

    Attributes:
        path: The file.
        landmarks: float32 [5, 2] in pixels to align it by; None takes a square as it is.
        lfw_crop: Without landmarks, take a 250 x 250 photograph for one of LFW, whose faces are centred, and use its
            130 x 130 pixels from (61, 52) on.
    """

    path: Path
    landmarks: torch.Tensor | None = None
    lfw_crop: bool = False

    def load(self, size: int) -> torch.Tensor:
        """Read, decode and crop; uint8 [size, size, 3] RGB."""
        try:
            image = decode(self.path.read_bytes())
        except (OSError, BadImage) as error:
            raise BadImage(f"{self.path}: {error}") from error
        if self.landmarks is not None:
            return align(image, self.landmarks, size)
        height, width = image.shape[:2]
        if height != width:
            raise BadImage(f"{self.path}: {width} x {height} pixels; without landmarks a square is expected")
        if self.lfw_crop and width == _LFW_SIDE:
            image = image[_LFW_TOP : _LFW_TOP + _LFW_CROP, _LFW_LEFT : _LFW_LEFT + _LFW_CROP]
        return resize(image, size)

    def digest(self) -> bytes:
        """Name of file and folder, size, time of the last change, and landmarks; the content is not read."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror})") from error
        facts = f"{self.path.parent.name}/{self.path.name} {status.st_size} {status.st_mtime_ns} ".encode()
        return facts if self.landmarks is None else facts + self.landmarks.numpy().tobytes()

    def identity(self) -> Hashable:
        """The path and how it is cropped."""
        return self.path, None if self.landmarks is None else self.landmarks.numpy().tobytes(), self.lfw_crop


class EvaluationImages(Dataset[NumberedImage]):
    """The images of a benchmark, decoded one by one.

    Args:
        images: Where they come from.
        size: Side of the images that the network takes, in pixels.
        copy_of: int64 [N], the number of the first image with the same pixels for each, see `first_copies`; those are
            the ones to embed. None: all are.
    """

    def __init__(self, images: Sequence[ImageSource], size: int, copy_of: np.ndarray | None = None) -> None:
        self.images = images
        self.size = size
        self.to_embed = np.arange(len(images)) if copy_of is None else np.unique(copy_of)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> NumberedImage:
        """Load image `index`."""
        return NumberedImage(image=self.images[index].load(self.size), index=index)


def first_copies(images: Sequence[ImageSource]) -> np.ndarray:
    """For each image the number of the first one with the same pixels, int64 [N]; pairs repeat many of theirs."""
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(image.identity(), number) for number, image in enumerate(images)], np.int64)


class ImageShare(Dataset[NumberedImage]):
    """What one of several processes embeds: every `world_size`-th image to embed, each in exactly one share.

    All shares have the same length, since strategies such as FSDP need equally many batches everywhere: the last item
    of some is a filler with the index `FILLER`.

    Args:
        images: All images of a benchmark.
        rank: Number of the process.
        world_size: Number of processes.
    """

    def __init__(self, images: NumberedImages, rank: int = 0, world_size: int = 1) -> None:
        self.images = images
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return -(-len(self.images.to_embed) // self.world_size)

    def __getitem__(self, position: int) -> NumberedImage:
        """Load the image at a position of this share."""
        place = self.rank + position * self.world_size
        if place < len(self.images.to_embed):
            return self.images[int(self.images.to_embed[place])]
        return NumberedImage(image=self.images[0]["image"], index=FILLER)
