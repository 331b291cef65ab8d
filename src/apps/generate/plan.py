"""What images are made with, on whichever device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from src.apps.device import find_device
from src.apps.embedding import Recogniser
from src.apps.generate.generator_file import load_generator
from src.apps.generate.imaging import FaceEmbedder, ImageMaker, Resize
from src.errors import UserError
from src.models.generation.faces import FaceDetector, FaceRule
from src.models.generation.synthesiser import GeneratorSynthesiser

__all__ = ["MakerPlan", "find_devices"]


@dataclass(frozen=True)
class MakerPlan:
    """Makes an `ImageMaker` for a device, in any process.

    Attributes:
        generator: See `load_generator`.
        recogniser: See `Recogniser`, like ``backbone`` and ``size``.
        backbone: See there.
        size: See there.
        resize: See `FaceEmbedder`.
        detector: See `ImageMaker`, like the rest.
        face_rule: See there.
        seed: See there.
        psi: See there.
        identity_scale: See there.
        batch_size: See there.

    Raises:
        UserError: A value is out of its range.
    """

    generator: Path
    recogniser: Path
    backbone: nn.Module | None
    size: int
    resize: Resize
    detector: FaceDetector | None
    face_rule: FaceRule
    seed: int
    psi: float
    identity_scale: float
    batch_size: int

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"seed: expected 0 or more, found {self.seed}")
        if self.batch_size < 1:
            raise UserError(f"batch_size: expected at least 1, found {self.batch_size}")
        if self.identity_scale <= 0:
            raise UserError(f"identity_scale: expected more than 0, found {self.identity_scale}")

    def __call__(self, device: torch.device) -> ImageMaker:
        """Load the networks.

        Raises:
            UserError: A file cannot be read, or does not hold what is expected.
        """
        return ImageMaker(
            GeneratorSynthesiser(load_generator(self.generator), device),
            FaceEmbedder(Recogniser(self.recogniser, self.backbone, self.size, device), self.resize),
            self.detector,
            self.face_rule,
            self.seed,
            self.psi,
            self.identity_scale,
            self.batch_size,
        )


def find_devices(name: str, count: int | str) -> list[torch.device]:
    """Devices to work on side by side.

    Args:
        name: See `find_device`.
        count: How many, or ``"auto"``: all GPUs, or one process on the CPU.

    Raises:
        UserError: There are not so many GPUs, or the number is none.
    """
    device = find_device(name)
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    number = there if count == "auto" else count
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise UserError(f"devices: expected auto or a number from 1 on, found {count!r}")
    if device.type == "cpu":
        return [device] * number
    if number > there:
        raise UserError(f"devices: expected at most {there}, the GPUs of this machine; found {number}")
    return [torch.device("cuda", index) for index in range(number)]
