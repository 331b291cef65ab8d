"""Decoding of JPEG and PNG images of unknown origin."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from src.errors import UserError

__all__ = ["BadImage", "decode"]

MAX_PIXELS = 64 * 1024 * 1024
_EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}


class BadImage(UserError):
    """An image that cannot be decoded; the message gives the reason."""


def decode(content: bytes, *, grey: bool = False, max_pixels: int = MAX_PIXELS) -> torch.Tensor:
    """Decode one JPEG or PNG.

    Args:
        content: The file's bytes.
        grey: Return one channel (near infrared) instead of three.
        max_pixels: Largest height x width accepted; read from the header before anything is decoded.

    Returns:
        uint8 [H, W, 3] RGB, or [H, W, 1] if `grey`.

    Raises:
        BadImage: Not a JPEG or PNG, truncated, damaged, too large, or of more than 8 bits per channel.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise BadImage(f"{width} x {height} pixels, expected at most {max_pixels} in all")
            if image.mode not in _EIGHT_BIT_MODES:
                raise BadImage(f"pixels of mode {image.mode}, expected 8 bits per channel")
            pixels = np.array(image.convert("L" if grey else "RGB"))
    except BadImage:
        raise
    except Exception as error:  # on malformed bytes Pillow's readers raise a dozen unrelated types
        raise BadImage(f"not a readable JPEG or PNG ({error})") from error
    return torch.from_numpy(pixels.reshape(height, width, -1))
