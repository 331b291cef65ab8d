"""Random access to the samples of a folder of shards."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch

from src.datamodules.alignment import (
    centre_crop,
    centre_crop_matrix,
    similarity_from_landmarks,
    transform_points,
    warp_image,
)
from src.datamodules.decode import BadImage, decode
from src.datamodules.image_dataset import ImageDataset
from src.datamodules.sample import Sample
from src.datamodules.shard_index import ShardIndex
from src.datamodules.shard_scan import MEMBERS
from src.errors import UserError

__all__ = ["ShardDataset"]

_MEMBER_OF_FIELD = {"image": "image", "nir": "nir", "landmarks": "metadata", "feature": "feature"}
_FIELDS = (*_MEMBER_OF_FIELD, "label", "attribute")
_MAX_OPEN_FILES = 256


class ShardDataset(ImageDataset):
    """The samples of a folder of WebDataset tars, read by position.

    Args:
        root: Folder with the tars and their `index.json`.
        size: Side of the images in pixels; others are cropped to a square and resized.
        fields: Sample keys to yield besides `key`: image, nir, label, attribute, feature, landmarks.
        align: Align the images to the template by the landmarks in the shards (for loosely cropped faces).
        max_bad_fraction: Largest fraction of unreadable images that is tolerated.

    Raises:
        UserError: The folder is no whole dataset (see `ShardIndex.load`), or samples lack a wanted field.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        size: int = 112,
        fields: Sequence[str] = ("image", "label"),
        align: bool = False,
        max_bad_fraction: float = 0.01,
    ) -> None:
        self.index = ShardIndex.load(root)
        super().__init__(str(root), self.index.label, self.index.classes, self.index.fingerprint, max_bad_fraction)
        self.size = size
        self.fields = tuple(fields)
        self.align = align
        self._files: dict[int, BinaryIO] = {}
        self._check_fields()

    def _check_fields(self) -> None:
        if unknown := sorted(set(self.fields) - set(_FIELDS)):
            raise UserError(f"{self.name}: unknown field {unknown[0]!r}; choose from {', '.join(_FIELDS)}")
        needed = {_MEMBER_OF_FIELD[field] for field in self.fields if field in _MEMBER_OF_FIELD}
        if "landmarks" in self.fields and "image" not in self.fields:
            raise UserError(f"{self.name}: the field 'landmarks' needs 'image' beside it, whose pixels it counts")
        for member in sorted(needed | ({"metadata"} if self.align else set())):
            absent = self.index.offset[:, MEMBERS.index(member)] < 0
            if absent.any():
                raise UserError(
                    f"{self.name}: {absent.sum()} of {len(self)} samples have no {member} (first: "
                    f"{self.key(int(absent.argmax()))!r}); choose other fields or other shards"
                )

    def key(self, index: int) -> str:
        """Key of the sample in its tar."""
        return self.index.keys[index].decode()

    def read(self, index: int) -> Sample:
        """Read, decode and crop one sample."""
        sample: dict[str, Any] = {"key": self.key(index)}
        if "image" in self.fields:
            sample["image"] = decode(self._member(index, "image"))
        if "nir" in self.fields:
            sample["nir"] = decode(self._member(index, "nir"), grey=True)
        if self.align or "landmarks" in self.fields:
            sample["landmarks"] = self._landmarks(index)
        self._crop(sample)
        if "feature" in self.fields:
            sample["feature"] = self._feature(index)
        if "label" in self.fields:
            sample["label"] = torch.tensor(int(self.index.label[index]))
        if "attribute" in self.fields:
            sample["attribute"] = torch.tensor(int(self.index.attribute[index]))
        return cast(Sample, sample)

    def _crop(self, sample: dict[str, Any]) -> None:
        """Bring images and landmarks to the size asked for."""
        landmarks = sample.pop("landmarks", None)
        for name in sample.keys() & {"image", "nir"}:
            height, width = sample[name].shape[:2]
            if self.align:
                matrices, _ = similarity_from_landmarks(landmarks[None], self.size, image_size=(height, width))
                matrix = matrices[0]
                sample[name] = warp_image(sample[name], matrix, self.size)
            else:
                matrix = centre_crop_matrix(height, width, self.size)
                sample[name] = centre_crop(sample[name], self.size)
            if name == "image" and "landmarks" in self.fields:
                sample["landmarks"] = transform_points(landmarks, matrix)

    def _landmarks(self, index: int) -> torch.Tensor:
        try:
            return torch.tensor(json.loads(self._member(index, "metadata"))["landmarks"], dtype=torch.float32).view(
                5, 2
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise BadImage(f"its metadata hold no five `landmarks` ({error!r})") from error

    def _feature(self, index: int) -> torch.Tensor:
        try:
            feature = np.load(BytesIO(self._member(index, "feature")), allow_pickle=False)
            return torch.from_numpy(feature.astype(np.float32))
        except (EOFError, TypeError, ValueError) as error:
            raise BadImage(f"its feature is no NumPy array ({error})") from error

    def _member(self, index: int, member: str) -> bytes:
        column = MEMBERS.index(member)
        size = int(self.index.size[index, column])
        descriptor = self._open(int(self.index.shard[index])).fileno()
        content = os.pread(descriptor, size, int(self.index.offset[index, column]))
        if len(content) < size:
            raise BadImage(f"{len(content)} of {size} bytes: the tar was cut after it was opened")
        return content

    def _open(self, shard: int) -> BinaryIO:
        """Open a tar on first use; reads by position may share the descriptor with forked processes."""
        if shard not in self._files:
            if len(self._files) == _MAX_OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            path = self.index.root / self.index.shards[shard].file
            self._files[shard] = open(path, "rb", buffering=0)  # noqa: SIM115, closed with the dataset
        return self._files[shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}
