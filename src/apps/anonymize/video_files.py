"""Videos frame by frame, with the sound as it is, through PyAV."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import av.logging
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from src.errors import UserError

__all__ = ["CONTAINERS", "VideoFacts", "probe", "transcode"]

CONTAINERS = {".mkv": "matroska", ".mp4": "mp4"}
"""Formats that are written, by the suffix of a file."""

_UNSPECIFIED = 2
_HIGH_DEFINITION = 720
"""Rows from which on a video that does not tell is taken to be coded as BT.709 says."""


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a video before it is read.

    Attributes:
        height: As it is shown, in pixels.
        width: Likewise.
        rate: Frames per second on average.
        frames: About how many; None if the file does not tell.
        sounds: Streams of sound that are kept.
        dropped: Other streams that are not: subtitles, positions, covers.
    """

    height: int
    width: int
    rate: Fraction
    frames: int | None
    sounds: int
    dropped: int


def probe(path: Path) -> VideoFacts:
    """Read the first frame.

    Raises:
        UserError: There is no such file, it is no video, or its codec is not known.
    """
    with _open(path) as source, _explained(path, 0):
        stream = source.streams.video[0]
        first = next(source.decode(stream), None)
        if first is None:
            raise UserError(f"{path}: holds no frame that can be read")
        height, width = _pixels(first).shape[:2]
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        seconds = (source.duration or 0) / av.time_base
        kept = 1 + len(source.streams.audio)
        frames = stream.frames or round(seconds * rate) or None
        return VideoFacts(height, width, rate, frames, kept - 1, len(source.streams) - kept)


def transcode(
    path: Path,
    file: IO[bytes],
    facts: VideoFacts,
    container: str,
    change: Callable[[Sequence[int], Sequence[np.ndarray]], None],
    *,
    lossy: bool,
    batch_size: int,
) -> int:
    """Write a video anew with changed frames and the same sound, packet by packet; no tags, no other streams.

    Args:
        path: The video.
        file: To write to.
        facts: Of `probe`.
        container: One of `CONTAINERS`' formats.
        change: Called with numbers and pixels uint8 [H, W, 3] RGB of some frames, which it changes in place.
        lossy: Write H.264 instead of FFV1 in RGB, of which every pixel comes out as it went in.
        batch_size: Frames at once.

    Returns:
        How many frames.

    Raises:
        UserError: A frame cannot be read, or the container cannot hold the sound.
    """
    count, waiting = 0, list[tuple[av.VideoFrame, np.ndarray]]()
    with (
        _open(path) as source,
        _decoding_errors() as errors,
        av.open(file, "w", format=container, options={"fflags": "+bitexact"}) as target,
    ):
        video = source.streams.video[0]
        encoder = _add_video(target, facts, video, lossy)
        sounds = {stream.index: _add_sound(target, stream, path, container) for stream in source.streams.audio}

        def write() -> None:
            nonlocal count
            change(range(count, count + len(waiting)), [pixels for _, pixels in waiting])
            for number, (frame, pixels) in enumerate(waiting, count):
                target.mux(encoder.encode(_encodable(frame, pixels, number, facts, lossy)))
            count += len(waiting)
            waiting.clear()

        for packet in source.demux(video, *source.streams.audio):
            if packet.stream is not video:
                if packet.dts is not None:  # the last one of a stream is empty
                    packet.stream = sounds[packet.stream.index]
                    target.mux(packet)
                continue
            with _explained(path, count + len(waiting)):
                frames = packet.decode()
            if errors:
                raise UserError(
                    f"{path}: is damaged about frame {count + len(waiting)} ({errors[0][2].strip()}); repair the file "
                    "or cut it there. Nothing was written"
                )
            for frame in frames:
                _check(frame, facts, path, count + len(waiting))
                waiting.append((frame, _pixels(frame)))
                if len(waiting) == batch_size:
                    write()
        if waiting:
            write()
        target.mux(encoder.encode(None))
    return count


def _add_video(target: Any, facts: VideoFacts, source: Any, lossy: bool) -> Any:
    options = {"crf": "16", "preset": "medium"} if lossy else {"level": "3", "slices": "4", "slicecrc": "1"}
    encoder = target.add_stream("libx264" if lossy else "ffv1", rate=facts.rate, options=options)
    encoder.width, encoder.height = facts.width, facts.height
    encoder.pix_fmt = "yuv420p" if lossy else "bgr0"
    encoder.time_base = encoder.codec_context.time_base = source.time_base
    if lossy:
        encoder.codec_context.colorspace = Colorspace.ITU709
        encoder.codec_context.color_range = ColorRange.MPEG
    return encoder


def _add_sound(target: Any, stream: Any, path: Path, container: str) -> Any:
    try:
        kept = target.add_stream_from_template(stream)
    except (ValueError, av.FFmpegError) as error:
        raise UserError(
            f"{path}: its sound ({stream.codec_context.name}) does not go into {container}; give an out that ends in "
            f".mkv ({error})"
        ) from error
    kept.metadata.clear()
    return kept


def _encodable(frame: Any, pixels: np.ndarray, number: int, facts: VideoFacts, lossy: bool) -> av.VideoFrame:
    """A frame for the encoder, at the time of the one that it was made from."""
    made = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    made = (
        made.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)
        if lossy
        else made.reformat(format="bgr0")
    )
    made.time_base = frame.time_base
    made.pts = round(number / facts.rate / frame.time_base) if frame.pts is None else frame.pts
    return made


def _pixels(frame: Any) -> np.ndarray:
    """uint8 [H, W, 3] RGB, the way up that it is shown."""
    is_untold = frame.colorspace == _UNSPECIFIED and frame.height >= _HIGH_DEFINITION
    pixels = frame.to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU709 if is_untold else None)
    return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))


def _check(frame: Any, facts: VideoFacts, path: Path, number: int) -> None:
    size = (frame.width, frame.height)
    if sorted(size) != sorted((facts.width, facts.height)):
        raise UserError(
            f"{path}: frame {number} is of {size[0]}x{size[1]} pixels, not as the first; split the file there"
        )


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    try:
        source = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise UserError(
            f"input={path}: expected a folder, a JPEG or PNG, or a video that FFmpeg reads; {error.strerror}"
        ) from error
    with source:
        if not source.streams.video:
            raise UserError(f"input={path}: holds no video")
        if source.streams.video[0].codec_context is None:
            raise UserError(f"input={path}: its video is coded in a way that FFmpeg does not know; convert it first")
        source.streams.video[0].thread_type = "AUTO"
        yield source


@contextmanager
def _decoding_errors() -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg's decoders complain of; most make up what is damaged and return a frame all the same."""
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture(local=False) as messages:
            yield messages
    finally:
        av.logging.set_level(before)


@contextmanager
def _explained(path: Path, number: int) -> Iterator[None]:
    """Turn an error of decoding into a `UserError`."""
    try:
        yield
    except av.FFmpegError as error:
        raise UserError(
            f"{path}: frame {number} cannot be read ({error.strerror}); repair the file or convert it first. Nothing "
            "was written"
        ) from error
