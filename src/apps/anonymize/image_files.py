"""Images as they are shown, without what their files tell beside the pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps

from src.datamodules.decode import BadImage, decode, encode_jpeg, inspect
from src.datamodules.photographs import list_images
from src.datamodules.sources.file_source import IMAGE_SUFFIXES
from src.errors import UserError

__all__ = ["check_images", "find_images", "read_image", "write_image"]


def find_images(folder: Path) -> list[str]:
    """Paths of all images below a folder; raises UserError if there are none."""
    files = [Path(file).as_posix() for file in list_images(folder)]
    if not files:
        raise UserError(f"input={folder}: holds no images, expected {', '.join(IMAGE_SUFFIXES)} at any depth")
    return files


def check_images(root: Path, files: list[str]) -> None:
    """Raise UserError if some images cannot be read, as far as their beginnings and ends tell."""
    broken = []
    for file in files:
        try:
            inspect((root / file).read_bytes())
        except (OSError, BadImage) as error:
            broken.append(f"\n  {root / file}: {error}")
    if broken:
        raise UserError(
            f"{len(broken)} of {len(files)} images cannot be read:{''.join(broken[:5])}\n"
            "Nothing was written; repair them, or move them away"
        )


def read_image(path: Path) -> np.ndarray:
    """Read a JPEG or PNG the way up that it is shown.

    Returns:
        uint8 [H, W, 3] RGB, or [H, W, 4] where pixels are transparent.

    Raises:
        BadImage: It cannot be read.
    """
    try:
        content = path.read_bytes()
        pixels = decode(content).numpy()
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as header:
            orientation = header.getexif().get(ExifTags.Base.Orientation, 1)
            if header.has_transparency_data:
                pixels = np.array(header.convert("RGBA"))
    except (OSError, BadImage) as error:
        raise BadImage(f"{path}: {error}") from error
    if orientation == 1:
        return np.array(pixels)
    image = Image.fromarray(pixels)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(image))


def write_image(file: IO[bytes], pixels: np.ndarray, *, lossy: bool) -> None:
    """Write uint8 [H, W, 3 or 4] as PNG; or as JPEG, which has no transparency. Nothing but pixels is written."""
    if lossy:
        file.write(encode_jpeg(torch.from_numpy(np.ascontiguousarray(pixels[..., :3]))))
    else:
        Image.fromarray(pixels).save(file, format="PNG", compress_level=4)
