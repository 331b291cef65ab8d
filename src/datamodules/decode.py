"""Decoding and encoding of JPEG and PNG images of unknown origin."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import simplejpeg
import torch
from PIL import Image

from src.errors import UserError

__all__ = ["MAX_PIXELS", "BadImage", "decode", "decode_into", "encode_jpeg", "inspect"]

MAX_PIXELS = 64 * 1024 * 1024
"""Largest height x width that is decoded."""

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_EIGHT_BIT_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK"}


class BadImage(UserError):
    """An image that cannot be decoded; the message gives the reason."""


def inspect(content: bytes, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Read the size of a JPEG or PNG from its header, before anything is decoded.

    Args:
        content: The file's bytes.
        max_pixels: Largest height x width accepted.

    Returns:
        Height and width in pixels.

    Raises:
        BadImage: Not a JPEG or PNG, without its end, or too large.
    """
    if content.startswith(_JPEG_START):
        height, width, _ = _jpeg_header(content)
        end = _JPEG_END
    elif content.startswith(_PNG_START) and content[12:16] == b"IHDR":
        width, height = struct.unpack(">II", content[16:24].ljust(8, b"\0"))
        end = _PNG_END
    else:
        raise BadImage(f"not a readable JPEG or PNG (it starts with {content[:8]!r})")
    if height * width > max_pixels:
        raise BadImage(f"{width} x {height} pixels, expected at most {max_pixels} in all")
    # Decoders fill up what is missing, each in its own way.
    if content.rfind(end) < 0:
        raise BadImage("truncated: the end of the image is missing")
    return height, width


def decode(content: bytes, *, grey: bool = False, max_pixels: int = MAX_PIXELS) -> torch.Tensor:
    """Decode one JPEG (by libjpeg-turbo) or PNG; Python's lock is released meanwhile.

    Args:
        content: The file's bytes.
        grey: Return one channel (near infrared) instead of three.
        max_pixels: Largest height x width accepted; read from the header before anything is decoded.

    Returns:
        uint8 [H, W, 3] RGB, or [H, W, 1] if `grey`.

    Raises:
        BadImage: Not a JPEG or PNG, truncated, damaged, too large, or of more than 8 bits per channel.
    """
    inspect(content, max_pixels=max_pixels)
    if content.startswith(_JPEG_START):
        return torch.from_numpy(_decode_jpeg(content, "GRAY" if grey else "RGB"))
    return torch.from_numpy(_decode_with_pillow(content, "L" if grey else "RGB"))


def decode_into(content: bytes, pixels: np.ndarray) -> bool:
    """Decode a JPEG of known size straight into an array, without looking at its header first.

    Args:
        content: The file's bytes.
        pixels: Contiguous uint8 [H, W, 3] for RGB or [H, W, 1] for grey.

    Returns:
        Whether it was done. If not, the content is no plain JPEG of H x W pixels, `pixels` hold rubbish, and `decode`
        will tell more.
    """
    colors = "RGB" if pixels.shape[-1] == 3 else "GRAY"
    try:
        return simplejpeg.decode_jpeg(content, colors, buffer=pixels).shape == pixels.shape
    except (KeyError, ValueError):
        return False


def _decode_jpeg(content: bytes, colors: str) -> np.ndarray:
    try:
        return simplejpeg.decode_jpeg(content, colors)
    except (KeyError, ValueError) as error:
        if "Premature end" in str(error):
            raise BadImage(f"truncated ({error})") from error
    if _jpeg_header(content)[2] == "other":
        return _decode_with_pillow(content, "L" if colors == "GRAY" else "RGB")
    try:
        # What libjpeg only warns of, all other decoders accept.
        return simplejpeg.decode_jpeg(content, colors, strict=False)
    except ValueError as error:
        raise BadImage(f"not a readable JPEG ({error})") from error


def _jpeg_header(content: bytes) -> tuple[int, int, str]:
    """Height, width and colours; those that libjpeg-turbo's wrapper does not know are called "other"."""
    try:
        return simplejpeg.decode_jpeg_header(content, strict=False)[:3]
    except (KeyError, ValueError):
        with _open_with_pillow(content) as image:
            return image.height, image.width, "other"


def _decode_with_pillow(content: bytes, mode: str) -> np.ndarray:
    with _open_with_pillow(content) as image:
        if image.mode not in _EIGHT_BIT_MODES:
            raise BadImage(f"pixels of mode {image.mode}, expected 8 bits per channel")
        return np.array(image.convert(mode)).reshape(image.height, image.width, -1)


@contextmanager
def _open_with_pillow(content: bytes) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            yield image
    except BadImage:
        raise
    except Exception as error:  # on malformed bytes Pillow's readers raise a dozen unrelated types
        raise BadImage(f"not a readable JPEG or PNG ({error})") from error


def encode_jpeg(image: torch.Tensor, quality: int = 95) -> bytes:
    """Encode an image as JPEG without subsampling its colours.

    Args:
        image: uint8 [H, W, 3] RGB or [H, W, 1].
        quality: 1 to 100.

    Returns:
        The file's bytes; the same for the same pixels.
    """
    colors = "GRAY" if image.shape[-1] == 1 else "RGB"
    subsampling = "Gray" if colors == "GRAY" else "444"
    return simplejpeg.encode_jpeg(image.contiguous().numpy(), quality, colors, subsampling)
