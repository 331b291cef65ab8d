"""The cascade of P-Net, R-Net and O-Net."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from src.errors import UserError
from src.models.networks.mtcnn.area_sampling import AreaSampler
from src.models.networks.mtcnn.boxes import (
    clip_to_pixels,
    pyramid_scales,
    regress,
    squares_of_grid,
    suppress_contained,
    to_squares,
)
from src.models.networks.mtcnn.networks import OutputNetwork, ProposalNetwork, RefinementNetwork
from src.models.networks.weights import load_weights

__all__ = ["Faces", "Mtcnn"]

# Handled at once, which bounds the memory: pixels of images, scaled pixels in P-Net, squares in R-Net and O-Net.
_IMAGE_PIXELS, _SCALED_PIXELS, _SQUARES = 2**22, 2**20, 256
# Above it the less probable of two boxes is dropped, of those that P-Net finds at one scale and of all others.
_OVERLAP_AT_SCALE, _OVERLAP = 0.5, 0.7

Network = TypeVar("Network", RefinementNetwork, OutputNetwork)


@dataclass(frozen=True)
class Faces:
    """The faces on an image, from the most probable; all on the CPU.

    Attributes:
        boxes: float32 [K, 4], left, top, right and bottom in pixels, which the published program counts from 1:
            ``image[top - 1 : bottom, left - 1 : right]`` shows the face. They may reach beyond the image.
        probabilities: float32 [K], in [0, 1].
        landmarks: float32 [K, 5, 2], (x, y) pixels, counted from 0: left eye, right eye, nose, left and right mouth
            corner.
    """

    boxes: Tensor
    probabilities: Tensor
    landmarks: Tensor

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True)
class _Candidates:
    """Squares [K, 4] that may show a face, and on which image [K]."""

    boxes: Tensor
    numbers: Tensor

    def __getitem__(self, rows: Tensor) -> _Candidates:
        return _Candidates(self.boxes[rows], self.numbers[rows])


class Mtcnn(nn.Module):
    """Finds faces of any size that look more or less at the camera (Zhang et al. 2016).

    P-Net searches the image at several scales, R-Net and O-Net look closer at what the network before has found.
    Resizing, thresholds and the order of all steps are those of facenet-pytorch.

    Args:
        path: Folder with ``pnet.pt``, ``rnet.pt`` and ``onet.pt`` as facenet-pytorch has them, or one file of weights
            whose names begin with ``pnet.``, ``rnet.`` and ``onet.``.
        min_face: Side of the smallest face to find, in pixels.
        thresholds: Least probabilities by P-Net, R-Net and O-Net.
        factor: From one scale to the next.

    Raises:
        UserError: A value is out of its range; a file is missing or damaged, or holds something else.
    """

    def __init__(
        self,
        path: Path | str,
        min_face: float = 20,
        thresholds: Sequence[float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
    ) -> None:
        super().__init__()
        _check(min_face, thresholds, factor)
        self.min_face, self.thresholds, self.factor = min_face, tuple(thresholds), factor
        self.pnet, self.rnet, self.onet = ProposalNetwork(), RefinementNetwork(), OutputNetwork()
        _load(self, Path(path))
        self.eval()

    def extra_repr(self) -> str:
        """What the faces that are found depend on, beside the weights."""
        return f"min_face={self.min_face}, thresholds={self.thresholds}, factor={self.factor}"

    @torch.no_grad()
    def forward(self, images: Tensor | Sequence[Tensor]) -> list[Faces]:
        """Find the faces on images.

        Args:
            images: uint8 [N, 3, H, W] RGB, or N images [3, H, W] of any sizes.

        Returns:
            Those of each image.

        Raises:
            ValueError: An image has another type or shape.
        """
        found: dict[int, Faces] = {}
        for numbers in _chunks(images):
            faces = self._detect(torch.stack([images[number] for number in numbers]).to(self.pnet.conv1.weight.device))
            found.update(zip(numbers, faces, strict=True))
        return [found[number] for number in range(len(images))]

    def _detect(self, images: Tensor) -> list[Faces]:
        """Faces on some images of one size."""
        sampler = AreaSampler(images)
        candidates = self._refine(sampler, self._propose(sampler))
        candidates, (probabilities, offsets, landmarks) = self._look(sampler, candidates, self.onet, self.thresholds[2])
        left_top = candidates.boxes[:, None, :2]
        sides = candidates.boxes[:, None, 2:] - left_top + 1
        all_faces = Faces(
            regress(candidates.boxes, offsets).cpu(), probabilities.cpu(), (landmarks * sides + left_top - 1).cpu()
        )
        return [_best(all_faces, candidates.numbers.cpu() == number) for number in range(sampler.count)]

    def _propose(self, sampler: AreaSampler) -> _Candidates:
        """Squares that P-Net takes for faces."""
        scales = pyramid_scales(sampler.height, sampler.width, self.min_face, self.factor, ProposalNetwork.SIDE)
        found = [self._search(sampler, scale) for scale in scales]
        if not found:
            nothing = self.pnet.conv1.weight.new_zeros(0, 4)
            return _Candidates(nothing, nothing[:, 0].long())
        numbers, boxes, scores, offsets = (torch.cat(values) for values in zip(*found, strict=True))
        kept = batched_nms(boxes, scores, numbers, _OVERLAP)
        moved = regress(boxes[kept], offsets[kept], inclusive=False)
        return _Candidates(to_squares(moved), numbers[kept])

    def _search(self, sampler: AreaSampler, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Where P-Net fires at one scale: numbers of images, squares, probabilities and offsets."""
        found = []
        for first_row, strip in _strips(sampler, scale):
            probabilities, offsets = self.pnet(_normalised(strip))
            number, row, column = (probabilities >= self.thresholds[0]).nonzero(as_tuple=True)
            places = torch.stack([row + first_row, column], dim=1)
            found.append((number, places, probabilities[number, row, column], offsets[number, :, row, column]))
        numbers, places, scores, offsets = (torch.cat(values) for values in zip(*found, strict=True))
        boxes = squares_of_grid(places, scale, ProposalNetwork.STRIDE, ProposalNetwork.SIDE)
        kept = batched_nms(boxes, scores, numbers, _OVERLAP_AT_SCALE)
        return numbers[kept], boxes[kept], scores[kept], offsets[kept]

    def _refine(self, sampler: AreaSampler, candidates: _Candidates) -> _Candidates:
        """Squares that R-Net takes for faces, too."""
        candidates, (scores, offsets) = self._look(sampler, candidates, self.rnet, self.thresholds[1])
        kept = batched_nms(candidates.boxes, scores, candidates.numbers, _OVERLAP)
        return _Candidates(to_squares(regress(candidates.boxes[kept], offsets[kept])), candidates.numbers[kept])

    def _look(
        self, sampler: AreaSampler, candidates: _Candidates, network: Network, threshold: float
    ) -> tuple[_Candidates, list[Tensor]]:
        """What a network takes for faces, and all that it says of them."""
        parts = clip_to_pixels(candidates.boxes, sampler.height, sampler.width)
        inside = (parts[:, 2:] > parts[:, :2]).all(1)
        parts, candidates = parts[inside], candidates[inside]
        outputs = [
            network(_normalised(sampler.crop(numbers, some, network.SIDE)))
            for numbers, some in zip(candidates.numbers.split(_SQUARES), parts.split(_SQUARES), strict=True)
        ]
        values = [torch.cat(output) for output in zip(*outputs, strict=True)]
        good = values[0] > threshold
        return candidates[good], [value[good] for value in values]


def _strips(sampler: AreaSampler, scale: float) -> Iterator[tuple[int, Tensor]]:
    """Scaled images in strips for P-Net, each with the number of the first row of squares that is seen on it.

    Strips share the rows of pixels that squares on both sides of their border need: what is seen is the same.
    """
    side, stride = ProposalNetwork.SIDE, ProposalNetwork.STRIDE
    height, width = int(sampler.height * scale + 1), int(sampler.width * scale + 1)
    total = ProposalNetwork.rows(height)
    step = max(1, _SCALED_PIXELS // (sampler.count * width * stride))
    for first in range(0, total, step):
        end = height if first + step >= total else (first + step - 1) * stride + side
        yield first, sampler.resize(height, width, slice(first * stride, end))


def _best(faces: Faces, rows: Tensor) -> Faces:
    """Some of the faces, and of those that lie within each other the most probable."""
    boxes, probabilities, landmarks = faces.boxes[rows], faces.probabilities[rows], faces.landmarks[rows]
    kept = suppress_contained(boxes, probabilities, _OVERLAP)
    return Faces(boxes[kept], probabilities[kept], landmarks[kept])


def _normalised(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) / 128


def _chunks(images: Tensor | Sequence[Tensor]) -> Iterator[list[int]]:
    """Numbers of images of one size that are looked at together."""
    sizes: dict[tuple[int, int], list[int]] = {}
    for number, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8:
            raise ValueError(f"expected images uint8 [3, H, W] RGB, found {image.dtype} {list(image.shape)}")
        sizes.setdefault((image.shape[1], image.shape[2]), []).append(number)
    for (height, width), numbers in sizes.items():
        together = max(1, _IMAGE_PIXELS // max(height * width, 1))
        yield from (numbers[i : i + together] for i in range(0, len(numbers), together))


def _check(min_face: float, thresholds: Sequence[float], factor: float) -> None:
    """Raise UserError for values out of their range."""
    if min_face < 1:
        raise UserError(f"min_face: expected at least 1 pixel, found {min_face}")
    if len(thresholds) != 3 or not all(0 <= threshold <= 1 for threshold in thresholds):
        raise UserError(f"thresholds: expected three numbers from 0 to 1, found {list(thresholds)}")
    if not 0 < factor < 1:
        raise UserError(f"factor: expected more than 0 and less than 1, found {factor}")


def _load(network: Mtcnn, path: Path) -> None:
    """Fill all three networks."""
    try:
        if path.is_dir():
            for name, part in network.named_children():
                load_weights(part, path / f"{name}.pt")
        else:
            load_weights(network, path)
    except UserError as error:
        raise UserError(
            f"{error}\nExpected the weights of MTCNN: a folder with pnet.pt, rnet.pt and onet.pt of facenet-pytorch, "
            "or one file with all three."
        ) from error
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            raise UserError(f"{path}: {name} holds numbers that are not finite; the file is damaged, get it anew")
