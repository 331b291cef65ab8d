"""Images for the recogniser, and makers on several devices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from src.apps.generate.imaging import DevicePool, FaceEmbedder, ImageMaker
from src.errors import UserError
from src.models.generation.faces import Detection, FaceRule
from src.models.generation.rules import Rule
from src.models.generation.selection import Shot


@dataclass(frozen=True)
class _Colours:
    """Visible images whose red is the first number of the identity vector, green and blue that of code and noise."""

    z_dim: int = 1
    c_dim: int = 2
    noise_dim: int = 1
    fingerprint: str = "colours"

    def __call__(self, z: Tensor, c: Tensor, psi: float, noise: Tensor) -> tuple[Tensor, Tensor]:
        visible = torch.cat([c[:, :1], z, noise], dim=1)[..., None, None].expand(-1, -1, 8, 8) / 5
        return visible, visible[:, :1]


def _mean_colours(images: Tensor) -> Tensor:
    return images.float().mean((2, 3))


def _detect(images: Tensor) -> list[list[Detection]]:
    """Faces on images that are more red than not."""
    points = torch.tensor([[1.0, 0], [3, 0], [2, 0], [1, 0], [3, 0]])
    return [[Detection(1.0, points)] if image[0].float().mean() > 127 else [] for image in images]


def _build(device: torch.device, *, fail_on: int = 0) -> ImageMaker:
    if fail_on and torch.multiprocessing.parent_process() is not None:
        raise UserError("no such device")
    return ImageMaker(_Colours(), _mean_colours, _detect, FaceRule(), 0, 0.7, 4, 3)


SHOTS = [Shot(person, attempt) for person in range(5) for attempt in (1, 2)]


def test_a_pool_makes_what_one_maker_makes() -> None:
    alone = _build(torch.device("cpu"))(SHOTS)
    with DevicePool(_build, [torch.device("cpu")] * 2) as pool:
        assert pool.capacity == 6
        for shots, rows in ((SHOTS, slice(None)), (SHOTS[3:4], slice(3, 4))):
            together = pool(shots)
            assert torch.equal(together.images, alone.images[rows])
            assert torch.equal(together.embeddings, alone.embeddings[rows])
            assert list(together.faces) == list(alone.faces[rows])
    red = alone.embeddings[:, 0]
    assert torch.equal(red[::2], red[1::2])  # of one person
    expected = [Rule.NO_FACE if value <= 127 else None for value in red[::2].tolist()]
    assert list(alone.faces[::2]) == expected
    assert set(expected) == {Rule.NO_FACE, None}
    assert list(alone.faces[1::2]) == [None] * 5


def test_a_mistake_in_another_process_is_told_here() -> None:
    with (
        DevicePool(partial(_build, fail_on=1), [torch.device("cpu")] * 2) as pool,
        pytest.raises(UserError, match="no such device"),
    ):
        pool(SHOTS)


class _Identity:
    size = 4

    def embed_images(self, images: Tensor) -> Tensor:
        return images.float().flatten(1)


def test_resizing() -> None:
    images = torch.randint(0, 256, (2, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    smooth = FaceEmbedder(_Identity())(images)  # type: ignore[arg-type]
    rough = FaceEmbedder(_Identity(), "parity")(images)  # type: ignore[arg-type]
    expected = F.interpolate(images.float(), (4, 4), mode="bilinear", antialias=True).flatten(1)
    assert (smooth - expected).abs().max() <= 1
    # Without antialiasing the middle 2 x 2 of every 4 x 4 pixels count.
    middle = images.float().unfold(2, 4, 4).unfold(3, 4, 4)[..., 1:3, 1:3].mean((-1, -2)).flatten(1)
    assert (rough - middle).abs().max() <= 0.5
    assert rough.std() > 1.3 * smooth.std()
    same = FaceEmbedder(_Identity())(images[..., :4, :4])  # type: ignore[arg-type]
    assert torch.equal(same, images[..., :4, :4].float().flatten(1))
