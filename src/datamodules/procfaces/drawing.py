"""From a list of shots to encoded photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from src.datamodules.procfaces.appearance import derive
from src.datamodules.procfaces.camera import Placement
from src.datamodules.procfaces.degradation import degrade, encode_jpeg
from src.datamodules.procfaces.faces_config import FacesConfig
from src.datamodules.procfaces.hashing import normal, uniform
from src.datamodules.procfaces.identities import identity
from src.datamodules.procfaces.nuisances import Occlusion, Profile, combine, nuisance
from src.datamodules.procfaces.protocols import Shots
from src.datamodules.procfaces.rendering import render

__all__ = ["Drawer", "Photograph", "Scene", "draw", "draw_here"]

# Spread of a detector's landmark error in pupil distances: 0.7 px where the pupils are 35 px apart.
_DETECTOR_ERROR = 0.02


@dataclass(frozen=True)
class Scene:
    """What all images of one part of a data set share.

    Attributes:
        config: The data set.
        profile: Strength of the nuisance factors.
        size: Side of the images in pixels.
        framing: ``"aligned"`` to the ArcFace template, ``"photograph"`` as in LFW (the face wanders a little) or
            ``"crop"`` as in the loose crops of IJB-C.
        infrared: Whether to draw the near-infrared twin.
    """

    config: FacesConfig
    profile: Profile
    size: int
    framing: Literal["aligned", "photograph", "crop"] = "aligned"
    infrared: bool = False

    def batches(self, shots: Shots) -> Iterator[Shots]:
        """Split shots into what is drawn at once.

        The split never depends on the number of processes, so neither do the pixels.
        """
        size = max(4, min(16, 1024 // self.size))
        for start in range(0, len(shots), size):
            yield shots.take(np.arange(start, min(start + size, len(shots))))


@dataclass(frozen=True)
class Photograph:
    """One drawn image and what is known about it.

    Attributes:
        visible: RGB JPEG.
        infrared: Pixel-aligned grey JPEG, or None.
        landmarks: Left eye, right eye, nose, left and right mouth corner in pixels, float64 ``[5, 2]``; exact in
            aligned images, with the error of a detector in others.
        score: Confidence that a detector would give the face, 0.05 to 0.999.
        facts: Attribute (0 feminine-like, 1 masculine-like), box, age in years, yaw and pitch in degrees,
            occlusion, glasses; plain values for JSON.
    """

    visible: bytes
    infrared: bytes | None
    landmarks: np.ndarray
    score: float
    facts: dict[str, Any]


Drawer = Callable[[Scene, Shots], Iterator[Photograph]]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Planes this small gain nothing from threads, and threads that spin on a busy machine cost a factor of ten."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
@torch.inference_mode()
def draw(scene: Scene, shots: Shots) -> list[Photograph]:
    """Draw a batch of images.

    Args:
        scene: What they share.
        shots: The images, N rows.

    Returns:
        N photographs.
    """
    parameters = _parameters(scene, shots)
    placement = _placement(scene, shots)
    rendering = render(
        parameters,
        scene.size,
        frame="arcface" if placement is None else "loose",
        placement=placement,
        infrared=scene.infrared,
    )
    quality = parameters["jpeg_quality"].int().tolist()
    visible = _encode(degrade(rendering.visible, parameters), quality)
    infrared: list[bytes] | list[None] = [None] * len(shots)
    if rendering.infrared is not None:
        infrared = _encode(degrade(rendering.infrared, parameters, infrared=True), quality)
    landmarks = rendering.landmarks.double().numpy()
    if placement is not None:
        landmarks = landmarks + _detector_error(scene, shots, placement)
    facts = _facts(parameters, rendering.box)
    return [Photograph(*row) for row in zip(visible, infrared, landmarks, _scores(parameters), facts, strict=True)]


def draw_here(scene: Scene, shots: Shots) -> Iterator[Photograph]:
    """Draw any number of images in this process, batch by batch."""
    for batch in scene.batches(shots):
        yield from draw(scene, batch)


def _parameters(scene: Scene, shots: Shots) -> dict[str, torch.Tensor]:
    config = scene.config
    ids, rows = np.unique(shots.ids, return_inverse=True)
    people = identity(
        config.seed, ids, config.id_strength, config.attribute_strength, attribute_mode=config.attribute_balance
    )
    factors = nuisance(config.seed, shots.ids, shots.samples, shots.media, scene.profile, yaw=shots.yaw, age=shots.age)
    return combine(people, rows, factors)


def _placement(scene: Scene, shots: Shots) -> Placement | None:
    """Where the faces lie in unaligned images, arrays ``[N]``; None for aligned ones."""
    if scene.framing == "aligned":
        return None
    if scene.framing == "crop":
        return Placement(scene.size / 4, scene.size / 2, scene.size * 66 / 144)
    pixel = scene.size / 250
    scale, x, y = (2 * uniform(scene.config.seed, "photograph", shots.ids, shots.samples, size=3) - 1).T
    return Placement(
        torch.from_numpy(41 * pixel * (1 + 0.06 * scale)),
        torch.from_numpy(pixel * (125 + 6 * x)),
        torch.from_numpy(pixel * (118 + 6 * y)),
    )


def _detector_error(scene: Scene, shots: Shots, placement: Placement) -> np.ndarray:
    """Pixels, float64 ``[N, 5, 2]``."""
    error = normal(scene.config.seed, "detector", shots.ids, shots.samples, size=10).reshape(-1, 5, 2)
    scale = torch.as_tensor(placement.scale, dtype=torch.float64).reshape(-1, 1, 1).numpy()
    return _DETECTOR_ERROR * scale * error


def _encode(images: torch.Tensor, quality: list[int]) -> list[bytes]:
    """JPEG of uint8 images ``[N, S, S, C]``, at the quality that is one of their nuisance factors."""
    return [encode_jpeg(image, level) for image, level in zip(images, quality, strict=True)]


def _scores(parameters: dict[str, torch.Tensor]) -> list[float]:
    covered = np.select(
        [np.isin(parameters["occlusion"], [Occlusion.MASK, Occlusion.SUNGLASSES]),
         parameters["occlusion"].numpy() == Occlusion.PATCH],
        [0.35, 0.2],
    )  # fmt: skip
    turned = np.clip((np.abs(parameters["yaw"].numpy()) - 50) / 30, 0, 1)
    coarse = 1 - parameters["low_resolution"].numpy()
    score = 0.999 - covered - 0.25 * turned**2 * (3 - 2 * turned) - 0.3 * coarse
    return np.clip(score, 0.05, 0.999).tolist()


def _facts(parameters: dict[str, torch.Tensor], boxes: torch.Tensor) -> list[dict[str, Any]]:
    glasses = derive(parameters)["glasses"].flatten().tolist()
    return [
        {
            "attribute": int(parameters["masculine"][i]),
            "box": [round(edge, 2) for edge in boxes[i].tolist()],
            "age": round(float(parameters["age"][i]), 1),
            "yaw": round(float(parameters["yaw"][i]), 1),
            "pitch": round(float(parameters["pitch"][i]), 1),
            "occlusion": Occlusion(int(parameters["occlusion"][i])).name.lower(),
            "glasses": bool(glasses[i]),
        }
        for i in range(len(boxes))
    ]
