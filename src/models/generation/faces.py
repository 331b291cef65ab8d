"""Whether an image shows one face, for certain and from the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from src.errors import UserError
from src.models.generation.rules import Rule

__all__ = ["Detection", "FaceDetector", "FaceRule", "is_centred"]


@dataclass(frozen=True)
class Detection:
    """A face that was found.

    Attributes:
        probability: That it is one, in [0, 1].
        landmarks: float [5, 2], (x, y) pixels: left eye, right eye, nose, left and right mouth corner.
    """

    probability: float
    landmarks: Tensor


class FaceDetector(Protocol):
    """Finds faces.

    Attributes:
        fingerprint: Changes when what it finds does; a generation is not continued with another.
    """

    fingerprint: str

    def __call__(self, images: Tensor) -> list[list[Detection]]:
        """The faces on each of some images, uint8 [N, 3, H, W] RGB on the CPU; none are an empty list."""


@dataclass(frozen=True)
class FaceRule:
    """What is asked of the face on the first image of a person.

    Attributes:
        min_probability: Of the most probable face.
        centre_ratio: See `is_centred`.
        reject_several: Refuse images of several faces.

    Raises:
        UserError: A value is out of its range.
    """

    min_probability: float = 0.97
    centre_ratio: float = 1 / 3
    reject_several: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_probability <= 1:
            raise UserError(f"face_probability: expected 0 to 1, found {self.min_probability}")
        if not 0 < self.centre_ratio <= 1:
            raise UserError(f"centre_ratio: expected more than 0 and at most 1, found {self.centre_ratio}")

    def __call__(self, faces: Sequence[Detection]) -> Rule | None:
        """The first rule that the faces on an image break, None if they break none."""
        if not faces:
            return Rule.NO_FACE
        if self.reject_several and len(faces) > 1:
            return Rule.SEVERAL_FACES
        best = max(faces, key=lambda face: face.probability)
        if best.probability < self.min_probability:
            return Rule.UNCERTAIN_FACE
        return None if is_centred(best.landmarks, self.centre_ratio) else Rule.OFF_CENTRE


def is_centred(landmarks: Tensor, ratio: float = 1 / 3) -> bool:
    """Whether a face is seen from the front: the nose lies about midway between the eyes.

    That is ``|(l - n) + (r - n)| < ratio * (|l - n| + |r - n|)`` for the horizontal positions of eyes and nose.

    Args:
        landmarks: float [5, 2] or just eyes and nose [3, 2], (x, y).
        ratio: See above.
    """
    nose = landmarks[2, 0].double()
    left, right = landmarks[0, 0].double() - nose, landmarks[1, 0].double() - nose
    return bool((left + right).abs() < (left.abs() + right.abs()) * ratio)
