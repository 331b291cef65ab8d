from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from src.datamodules.decode import BadImage, decode, decode_into, encode_jpeg, inspect

MakeImage = Callable[..., bytes]


def _png_header(width: int, height: int) -> bytes:
    """A PNG that promises pixels it does not hold."""
    fields = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + fields + struct.pack(">I", zlib.crc32(fields))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 1000) + b"IDAT"


def _jpeg_of_size(content: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header promises another size."""
    frame = content.index(b"\xff\xc0")
    return content[: frame + 5] + struct.pack(">HH", height, width) + content[frame + 9 :]


def test_png_is_decoded_exactly() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    image = decode(buffer.getvalue())
    assert image.dtype == torch.uint8
    assert np.array_equal(image.numpy(), pixels)


@pytest.mark.parametrize(("grey", "channels"), [(False, 3), (True, 1)])
@pytest.mark.parametrize("stored_grey", [False, True])
def test_channels(make_image: MakeImage, grey: bool, channels: int, stored_grey: bool) -> None:
    assert decode(make_image(0, 8, 6, grey=stored_grey), grey=grey).shape == (6, 8, channels)


def test_size_is_checked_before_decoding(make_image: MakeImage) -> None:
    for read in (decode, inspect):
        with pytest.raises(BadImage, match="30000 x 30000 pixels"):
            read(_png_header(30000, 30000))
        with pytest.raises(BadImage, match="9000 x 9000 pixels"):
            read(_jpeg_of_size(make_image(0), 9000, 9000))


def test_max_pixels_is_inclusive(make_image: MakeImage) -> None:
    assert decode(make_image(0, 10, 10), max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(BadImage, match="expected at most 99"):
        decode(make_image(0, 10, 10), max_pixels=99)


def test_truncated_and_foreign_files(make_image: MakeImage) -> None:
    whole = make_image(0, 64, 64)
    for content in (b"", b"GIF89a", whole[:100]):
        with pytest.raises(BadImage, match="not a readable JPEG"):
            decode(content)
    for content in (whole[: len(whole) - 30], _png_header(4, 4)):
        with pytest.raises(BadImage, match="truncated"):
            decode(content)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_pixels_equal_those_of_pillow(mode: str, subsampling: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, len(mode)), dtype=np.uint8).squeeze()
    buffer = io.BytesIO()
    Image.fromarray(noise, mode).save(buffer, "JPEG", subsampling=subsampling)
    expected = np.asarray(Image.open(buffer).convert("RGB"))
    pixels = decode(buffer.getvalue()).numpy()
    # CMYK has no standard way to RGB; roundings differ.
    assert np.abs(pixels.astype(int) - expected).max() <= (2 if mode == "CMYK" else 0)


@pytest.mark.parametrize(("grey", "channels"), [(False, 3), (True, 1)])
def test_decoding_into_an_array_of_the_right_size(make_image: MakeImage, grey: bool, channels: int) -> None:
    pixels = np.zeros((20, 30, channels), np.uint8)
    content = make_image(3, 30, 20)
    assert decode_into(content, pixels)
    assert np.array_equal(pixels, decode(content, grey=grey).numpy())
    others = [make_image(3, 20, 30), make_image(3, 10, 10), make_image(3, 64, 64), make_image(3, 30, 20, kind="PNG")]
    for other in [*others, content[:300], content[:-30], b"", b"no image"]:
        assert not decode_into(other, pixels)


def test_damage_that_other_decoders_accept_is_accepted(make_image: MakeImage) -> None:
    content = bytearray(make_image(1, 64, 64))
    content[-40:-30] = b"\x12" * 10
    expected = np.asarray(Image.open(io.BytesIO(bytes(content))).convert("RGB"))
    assert np.array_equal(decode(bytes(content)).numpy(), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_encoding_loses_little_and_repeats(channels: int) -> None:
    image = torch.arange(0, 240, 4, dtype=torch.uint8)[:, None, None].expand(60, 50, channels)
    content = encode_jpeg(image, 95)
    assert content == encode_jpeg(image, 95)
    assert inspect(content) == (60, 50)
    assert (decode(content, grey=channels == 1).int() - image.int()).abs().max() <= 2


def test_sixteen_bit_png_is_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(buffer, "PNG")
    with pytest.raises(BadImage, match="expected 8 bits per channel"):
        decode(buffer.getvalue())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["JPEG", "PNG"]), position=st.floats(0, 1), replacement=st.binary(min_size=1, max_size=20))
def test_damaged_files_decode_or_raise_bad_image(
    make_image: MakeImage, kind: str, position: float, replacement: bytes
) -> None:
    content = bytearray(make_image(1, 24, 24, kind=kind))
    start = int(position * len(content))
    content[start : start + len(replacement)] = replacement
    with contextlib.suppress(BadImage):
        assert decode(bytes(content), max_pixels=10_000).dtype == torch.uint8
