"""Faces on images through the network, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from src.apps.anonymize.crops import Face
from src.apps.anonymize.network_file import TrainedTransformer
from src.apps.anonymize.secret import Secret
from src.apps.device import find_device
from src.errors import UserError

__all__ = ["FaceChanger"]


class FaceChanger:
    """Anonymises and recovers faces under what is derived from one passphrase.

    Args:
        trained: The network.
        secret: The passphrase.
        batch_size: Faces that go through the network at once.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"`` for cuda where there is one.
        path: Where the network comes from, for messages.

    Attributes:
        size: Side of the faces as the network sees them, in pixels.

    Raises:
        UserError: There is no such device, a number is out of its range, or the network's batch norms have no
            statistics of their own.
    """

    def __init__(self, trained: TrainedTransformer, secret: Secret, batch_size: int, device: str, path: Path) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size: expected at least 1, found {batch_size}")
        if not trained.is_calibrated:
            raise UserError(
                f"ckpt_path={path}: its batch norms would take the password away from single faces, until they are "
                f"given fixed statistics: privface convert ckpt={path} out=DIR calibrate=FACES, with a folder of at "
                "least 128 images of different faces, and ckpt_path=DIR"
            )
        self._device = find_device(device)
        self._network = trained.network.to(self._device)
        self._secret, self._batch_size = secret, batch_size
        self.size = trained.size

    def anonymize(self, images: Sequence[np.ndarray], faces: Sequence[Sequence[Face]]) -> None:
        """Anonymise faces one after the other, each as those before have left it.

        Args:
            images: uint8 [H, W, C], changed in place.
            faces: Of each image.
        """
        for rank in range(max(map(len, faces), default=0)):
            self._change(images, faces, rank, recovering=False)

    def recover(self, images: Sequence[np.ndarray], faces: Sequence[Sequence[Face]]) -> None:
        """Undo `anonymize`, from the last face of an image to the first, since their squares may overlap."""
        for rank in reversed(range(max(map(len, faces), default=0))):
            self._change(images, faces, rank, recovering=True)

    def bits(self, salt: bytes) -> Tensor:
        """The password that anonymises under a salt, bool [L]."""
        return self._secret.bits(salt, self._network.length)

    @torch.inference_mode()
    def transform(self, crops: Tensor, bits: Tensor) -> Tensor:
        """What the network makes of faces float32 [N, 3, S, S] and bits [N, L], on the CPU."""
        made = [
            self._network(some.to(self._device), password.to(self._device)).cpu()
            for some, password in zip(crops.split(self._batch_size), bits.split(self._batch_size), strict=True)
        ]
        return torch.cat(made)

    def _change(
        self, images: Sequence[np.ndarray], faces: Sequence[Sequence[Face]], rank: int, *, recovering: bool
    ) -> None:
        """Change the face of one rank on every image that has so many."""
        chosen = [
            (image, of_image[rank]) for image, of_image in zip(images, faces, strict=True) if len(of_image) > rank
        ]
        crops = torch.stack([face.crop.cut(image, self.size) for image, face in chosen])
        bits = torch.stack([self.bits(face.salt) for _, face in chosen])
        made = self.transform(crops, ~bits if recovering else bits)
        for (image, face), pixels in zip(chosen, made, strict=True):
            face.crop.paste(image, pixels)
