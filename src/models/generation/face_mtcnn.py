"""Finding faces on photographs, and on images like them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from src.errors import UserError
from src.models.generation.faces import Detection
from src.models.networks.mtcnn import Mtcnn
from src.models.networks.weights import weights_fingerprint

__all__ = ["MtcnnFaceDetector"]


class MtcnnFaceDetector:
    """The faces that `Mtcnn` finds, from the most probable.

    Args:
        path: See there, like the next three.
        min_face: See there.
        thresholds: See there.
        factor: See there.
        device: To compute on, by torch's name.

    Raises:
        UserError: A value is out of its range, the weights cannot be read, or there is no such device.
    """

    def __init__(
        self,
        path: Path | str,
        min_face: float = 20,
        thresholds: Sequence[float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        device: str = "cpu",
    ) -> None:
        self._network = Mtcnn(path, min_face, thresholds, factor)
        self.fingerprint = weights_fingerprint(self._network)
        try:
            self._network.to(device)
        except (RuntimeError, AssertionError) as error:  # the latter where torch was built without CUDA
            raise UserError(
                f"detector.device: expected a device of this machine, found {device!r} ({error})"
            ) from error

    def __call__(self, images: Tensor) -> list[list[Detection]]:
        """Find the faces on each of some images.

        Args:
            images: uint8 [N, 3, H, W] RGB.
        """
        return [
            [
                Detection(float(likely), points)
                for likely, points in zip(faces.probabilities, faces.landmarks, strict=True)
            ]
            for faces in self._network(images)
        ]
