"""A contact sheet: at one glance who is drawn and what changes from image to image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from src.datamodules.procfaces.drawing import Drawer, Scene, draw_here
from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.nuisances import Profile
from src.datamodules.procfaces.protocols import Shots
from src.files import atomic_write

__all__ = ["contact_sheet", "save_png"]

_IN_THE_WILD = 8
_INFRARED = 2
_YAWS = (-75, -45, -20, 20, 45, 75)
_AGES = (16, 30, 45, 60, 80)


def contact_sheet(
    config: FacesConfig, *, identities: Sequence[int] = range(8), size: int = 96, draw_all: Drawer = draw_here
) -> np.ndarray:
    """Draw a row per person: eight images as in the data, six yaws, two near-infrared twins, five ages.

    The twins belong to the first two images of the row.

    Args:
        config: The data set.
        identities: Whom to draw.
        size: Side of one image in pixels.
        draw_all: Draws the images; by default in this process.

    Returns:
        uint8 ``[len(identities) * size, 21 * size, 3]`` RGB.
    """
    usual = Profile().scaled(config.difficulty)
    studio = replace(
        usual.scaled(0.3), yaw=0, yaw_tail=0, age_spread=0, age_tail=0, occlusion=0, blur=0, noise=0, jpeg=(95, 95)
    )
    wild, posed = Scene(config, usual, size, infrared=True), Scene(config, studio, size)
    rows, samples = len(identities), np.tile(np.arange(_IN_THE_WILD), len(identities))
    in_the_wild = Shots(np.repeat(identities, _IN_THE_WILD), samples, samples)
    turned = replace(_one_image(identities, len(_YAWS)), yaw=np.tile(_YAWS, rows))
    aged = replace(_one_image(identities, len(_AGES)), age=np.tile(_AGES, rows))

    pictures = list(draw_all(wild, in_the_wild))
    infrared = _tiled([picture.infrared or b"" for picture in pictures], rows)
    columns = [
        _tiled([picture.visible for picture in pictures], rows),
        _tiled([picture.visible for picture in draw_all(posed, turned)], rows),
        infrared[:, : _INFRARED * size],
        _tiled([picture.visible for picture in draw_all(posed, aged)], rows),
    ]
    return np.concatenate(columns, axis=1)


def save_png(image: np.ndarray, path: Path | str) -> None:
    """Write a uint8 ``[H, W, 3]`` image as PNG."""
    with atomic_write(path) as file:
        Image.fromarray(image).save(file, "PNG")


def _one_image(identities: Sequence[int], times: int) -> Shots:
    """The first image of each person, several times: all that will differ is what the caller sets."""
    ids = np.repeat(identities, times)
    return Shots(ids, np.zeros_like(ids), np.zeros_like(ids))


def _tiled(encoded: list[bytes], rows: int) -> np.ndarray:
    """Images in reading order as one, uint8 ``[rows * S, columns * S, 3]``."""
    images = np.stack([np.asarray(Image.open(io.BytesIO(content)).convert("RGB")) for content in encoded])
    _, size, _, channels = images.shape
    grid = images.reshape(rows, -1, size, size, channels)
    return grid.transpose(0, 2, 1, 3, 4).reshape(rows * size, -1, channels)
