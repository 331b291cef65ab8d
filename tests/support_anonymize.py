"""A network whose password is a shift of colours, images, and clips with sound, for tests of `privface anonymize`.

``python tests/support_anonymize.py --seconds 60`` anonymises a clip of 720 rows and prints how much memory that took.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from src.apps.main import main
from src.apps.overrides import CONF
from src.models.networks.password_transformer import PasswordTransformer

__all__ = [
    "PASSPHRASE",
    "SIZE",
    "Commands",
    "photograph",
    "read_video",
    "resident",
    "sound_packets",
    "started",
    "write_boxes",
    "write_checkpoint",
    "write_clip",
    "write_image",
]

SIZE = 32
"""Side of the faces that the network is given."""
PASSPHRASE = "Zwölf laxe Typen, 4711"

_ARGUMENTS = {"length": 16, "channels": 6, "downsamplings": 0, "blocks": 1, "norm": "none"}


def write_checkpoint(path: Path, *, seed: int = 0, length: int = 16, strength: float = 0.04) -> Path:
    """Write a checkpoint of a network that adds a colour of the password's; close to grey the right one undoes it.

    Args:
        path: The file.
        seed: Of the colours.
        length: Bits of a password.
        strength: Of the colour of a bit.
    """
    arguments = {**_ARGUMENTS, "length": length}
    network = PasswordTransformer(**arguments)
    first, last = network.model[1], network.model[6]
    signs = torch.randint(0, 2, (3, length), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for channel in range(3):
            for sign, unit in ((1, channel), (-1, channel + 3)):
                first.weight[unit, channel, 3, 3] = sign
                first.weight[unit, 3:, 3, 3] = sign * strength * signs[channel]
                last.weight[channel, unit, 3, 3] = sign
    content = {
        "state_dict": {f"transformer.{name}": value for name, value in network.state_dict().items()},
        "hyper_parameters": {"model": {"transformer": arguments}, "datamodule": {"size": SIZE}},
    }
    torch.save(content, path)
    return path


def photograph(seed: int, height: int = 64, width: int = 80) -> np.ndarray:
    """Noise around grey, uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(116, 140, (height, width, 3), dtype=np.uint8)


def write_image(path: Path, seed: int = 0, **size: int) -> np.ndarray:
    """Write a photograph as PNG or, smooth enough to survive it, as JPEG; return its pixels as they are decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(seed, **size)).save(path)
    return np.array(Image.open(path))


def write_boxes(path: Path, *rows: tuple[object, ...], header: str = "file,left,top,right,bottom") -> Path:
    """Write a table of boxes."""
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def write_clip(
    path: Path,
    frames: int = 12,
    *,
    height: int = 64,
    width: int = 80,
    codec: str = "ffv1",
    sound: bool = True,
    rate: int = 10,
    coarse: int = 1,
) -> Path:
    """Write a clip of noise around grey that moves, with a tone, and with tags that tell of somebody.

    Args:
        path: The file.
        frames: How many.
        height: In pixels.
        width: In pixels.
        codec: Of the picture.
        sound: Whether there is any.
        rate: Frames per second.
        coarse: Side of the squares of one colour that the noise is made of.
    """
    picture = photograph(1, height // coarse, width // coarse).repeat(coarse, axis=0).repeat(coarse, axis=1)
    with av.open(str(path), "w") as target:
        target.metadata["title"] = "Erika Mustermann"
        video = target.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = width, height, "bgr0" if codec == "ffv1" else "yuv420p"
        audio = target.add_stream("aac", rate=16000, layout="mono") if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, number, axis=1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            target.mux(video.encode(frame))
            if audio is not None:
                _write_tone(target, audio, number, 16000 // rate)
        target.mux(video.encode(None))
        if audio is not None:
            target.mux(audio.encode(None))
    return path


def read_video(path: Path) -> np.ndarray:
    """All frames, uint8 [N, H, W, 3]."""
    with av.open(str(path)) as source:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)])


def sound_packets(path: Path) -> list[bytes]:
    """The sound as it is stored."""
    with av.open(str(path)) as source:
        return [bytes(packet) for packet in source.demux(audio=0) if packet.size]


class Commands:
    """Runs both commands in this process as typed, with the passphrase in the environment.

    Args:
        checkpoint: Of the network.
        monkeypatch: Sets the command line and the environment.
    """

    def __init__(self, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checkpoint, self._monkeypatch = checkpoint, monkeypatch
        self.printed: list[str] = []

    def __call__(self, app: str, *, fails: bool = False, passphrase: str = PASSPHRASE, **keys: object) -> str:
        """Run ``privface anonymize`` or ``recover``; return all that it printed."""
        keys = {"ckpt_path": self.checkpoint, "password_env": "SECRET_OF_TEST", "device": "cpu", **keys}
        arguments = [f"{key}={value}" for key, value in keys.items()]
        self._monkeypatch.setenv("SECRET_OF_TEST", passphrase)
        self._monkeypatch.setattr(sys, "argv", ["privface", app, *arguments])
        printed, status = io.StringIO(), 0
        with redirect_stdout(printed), redirect_stderr(printed):
            try:
                main()
            except SystemExit as stop:
                status = stop.code
        assert (status != 0) == fails, printed.getvalue()
        self.printed.append(printed.getvalue())
        return self.printed[-1]


def _write_tone(target, stream, number: int, samples: int) -> None:  # type: ignore[no-untyped-def]
    times = np.arange(number * samples, (number + 1) * samples) / 16000
    frame = av.AudioFrame.from_ndarray(np.sin(2 * np.pi * 440 * times)[None].astype(np.float32), "fltp", "mono")
    frame.sample_rate, frame.pts, frame.time_base = 16000, number * samples, Fraction(1, 16000)
    target.mux(stream.encode(frame))


def started(checkpoint: Path, clip: Path, hidden: Path, **keys: object) -> subprocess.Popen[bytes]:
    """``privface anonymize`` of a clip in a process of its own."""
    keys = {"input": clip, "out": hidden, "ckpt_path": checkpoint, "boxes": "frame", "device": "cpu", **keys}
    arguments = [*(f"{key}={value}" for key, value in keys.items()), "password_env=SECRET_OF_TEST"]
    environment = {**os.environ, "SECRET_OF_TEST": PASSPHRASE, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "src.apps.main", "anonymize", *arguments]
    return subprocess.Popen(command, cwd=CONF.parent, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def resident(pid: int) -> int:
    """Bytes of a process in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(seconds: int) -> None:
    """Anonymise a clip of two moving faces, 1280x720 pixels, 25 frames a second; print memory by fifths of the time."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder, "last.ckpt"))
        frames, form = 25 * seconds, {"height": 720, "width": 1280, "rate": 25, "coarse": 16}
        clip = write_clip(Path(folder, "clip.mkv"), frames, codec="libx264", **form)
        rows = [("clip.mkv", i, x + i % 300, 200, x + 120 + i % 300, 350, x) for i in range(frames) for x in (100, 700)]
        boxes = write_boxes(Path(folder, "b.csv"), *rows, header="file,frame,left,top,right,bottom,person")
        hidden = Path(folder, "out", "hidden.mkv")
        start, sizes = time.perf_counter(), []
        process = started(checkpoint, clip, hidden, boxes=boxes, keep_original=True, batch_size=8)
        while process.poll() is None:
            if list(hidden.parent.glob(f".hidden.mkv.{process.pid}.tmp")):
                sizes.append(resident(process.pid) / 2**20)
            time.sleep(0.1)
        taken = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(process.stderr.read().decode())
        fifths = [max(part) for part in np.array_split(sizes, 5)]
        print(
            f"{frames:,} frames in {taken:.0f} s; largest memory by fifths of it, MB:", *(f"{x:,.0f}" for x in fifths)
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    measure(parser.parse_args().seconds)
