"""Making, checking and embedding images of synthetic people, on one device or several."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from src.apps.embedding import Recogniser
from src.errors import UserError
from src.models.generation.faces import FaceDetector, FaceRule
from src.models.generation.rules import Rule
from src.models.generation.selection import Pictures, Shot
from src.models.generation.synthesiser import Synthesiser, identity_vectors, latent_draws, to_pixels

__all__ = ["DevicePool", "FaceEmbedder", "ImageMaker", "Resize"]

Resize = Literal["antialiased", "parity"]


@dataclass(frozen=True)
class FaceEmbedder:
    """A recogniser for images of any size.

    Attributes:
        recogniser: The network.
        resize: ``"antialiased"``: as the images of all data sets are resized; ``"parity"``: bilinear without
            antialiasing, as ArcBiFaceGAN's published program resized generated images.
    """

    recogniser: Recogniser
    resize: Resize = "antialiased"

    def __call__(self, images: Tensor) -> Tensor:
        """Embeddings float32 [N, D], of any scale, of uint8 [N, 3, R, R] RGB on the CPU."""
        size = self.recogniser.size
        if images.shape[-1] != size and self.resize == "antialiased":
            # In 8 bits, as data sets are resized.
            images = F.interpolate(images.contiguous(), (size, size), mode="bilinear", antialias=True)
        elif images.shape[-1] != size:
            images = F.interpolate(images.float(), (size, size), mode="bilinear").round().to(torch.uint8)
        return self.recogniser.embed_images(images)


@dataclass(frozen=True)
class ImageMaker:
    """Makes images on one device.

    Attributes:
        synthesiser: Makes pairs of images.
        embed: Embeds the visible ones.
        detector: Finds the face on them; None: faces are not checked.
        face_rule: What is asked of it.
        seed: Of the run.
        psi: Truncation.
        identity_scale: Norm of identity vectors.
        batch_size: Images that go through the networks at once.
    """

    synthesiser: Synthesiser
    embed: Callable[[Tensor], Tensor]
    detector: FaceDetector | None
    face_rule: FaceRule
    seed: int
    psi: float
    identity_scale: float
    batch_size: int

    def __call__(self, shots: Sequence[Shot]) -> Pictures:
        """Make, check and embed images."""
        batches = [self._make(shots[i : i + self.batch_size]) for i in range(0, len(shots), self.batch_size)]
        return _join(batches)

    def _make(self, shots: Sequence[Shot]) -> Pictures:
        z, noise = latent_draws(self.seed, shots, self.synthesiser.z_dim, self.synthesiser.noise_dim)
        images = to_pixels(*self.synthesiser(z, self.vectors([shot.person for shot in shots]), self.psi, noise))
        return Pictures(images, self.embed(images[:, :3]), self._check_faces(shots, images[:, :3]))

    def vectors(self, people: Sequence[int]) -> Tensor:
        """Identity vectors of people, float32 [N, c_dim]."""
        return identity_vectors(self.seed, people, self.synthesiser.c_dim, self.identity_scale)

    def _check_faces(self, shots: Sequence[Shot], images: Tensor) -> list[Rule | None]:
        """What is wrong with the faces on first images; nothing on the others, which are not looked at."""
        result: list[Rule | None] = [None] * len(shots)
        firsts = [row for row, shot in enumerate(shots) if shot.attempt == 1]
        if self.detector is not None and firsts:
            for row, faces in zip(firsts, self.detector(images[firsts]), strict=True):
                result[row] = self.face_rule(faces)
        return result


class DevicePool:
    """Several makers of images side by side: one in this process, and a process for each further device.

    Args:
        build: Makes an `ImageMaker` for a device; can be pickled.
        devices: One or more.

    Attributes:
        local: The maker in this process.
        capacity: Images that are made at once.
    """

    def __init__(self, build: Callable[[torch.device], ImageMaker], devices: Sequence[torch.device]) -> None:
        self.local = build(devices[0])
        self.capacity = self.local.batch_size * len(devices)
        self._workers: list[_Worker] = []
        try:
            for device in devices[1:]:
                self._workers.append(_Worker(build, device))
        except BaseException:
            self.close()
            raise

    def __call__(self, shots: Sequence[Shot]) -> Pictures:
        """Make, check and embed images."""
        share = -(-len(shots) // (len(self._workers) + 1))
        parts = [shots[i : i + share] for i in range(0, len(shots), share)]
        busy = list(zip(self._workers, parts[1:], strict=False))
        for worker, part in busy:
            worker.send(part)
        own = self.local(parts[0])
        return _join([own, *(worker.receive() for worker, _ in busy)])

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """A process that makes images on a device."""

    def __init__(self, build: Callable[[torch.device], ImageMaker], device: torch.device) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._device = device
        arguments = (build, device, torch.get_num_threads(), theirs)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def send(self, shots: Sequence[Shot]) -> None:
        try:
            self._connection.send(list(shots))
        except OSError as error:
            raise self._lost() from error

    def receive(self) -> Pictures:
        try:
            answer = self._connection.recv()
        except EOFError as error:
            raise self._lost() from error
        if isinstance(answer, Exception):
            raise answer
        images, embeddings, faces = answer
        return Pictures(torch.from_numpy(images), torch.from_numpy(embeddings), faces)

    def close(self) -> None:
        self._connection.close()
        self._process.join()

    def _lost(self) -> UserError:
        return UserError(
            f"the process on {self._device} ended before its work was done, perhaps for want of memory; lower "
            "batch_size or devices, and type the same command again to go on"
        )


def _work(
    build: Callable[[torch.device], ImageMaker], device: torch.device, threads: int, connection: Connection
) -> None:
    """Answer requests until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it, and closes the connection
    torch.set_num_threads(threads)
    make: ImageMaker | None = None
    answer: object
    while True:
        try:
            shots = connection.recv()
            try:
                make = make or build(device)
                pictures = make(shots)
                answer = (pictures.images.numpy(), pictures.embeddings.numpy(), list(pictures.faces))
            except UserError as error:
                answer = error
            except Exception:
                answer = RuntimeError(f"on {device}:\n{traceback.format_exc()}")
            connection.send(answer)
        except (EOFError, OSError):  # the parent has left
            return


def _join(parts: Sequence[Pictures]) -> Pictures:
    return Pictures(
        torch.cat([part.images for part in parts]),
        torch.cat([part.embeddings for part in parts]),
        [face for part in parts for face in part.faces],
    )
