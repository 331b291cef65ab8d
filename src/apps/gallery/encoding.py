"""From photographs to codes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from src.apps.checkpoint import TrainedCheckpoint
from src.apps.device import find_device
from src.apps.gallery.photographs import Photograph
from src.datamodules.decode import BadImage
from src.datamodules.sample import to_float
from src.errors import UserError
from src.models.networks.rank_hash import RankHashNetwork
from src.models.networks.weights import weights_fingerprint

__all__ = ["Encoder"]

_NAMED = 5


class Encoder:
    """The network of a checkpoint, in float32 on one device.

    Args:
        checkpoint: Of a training that makes codes.
        device: Where to run it: ``"cpu"``, ``"cuda"``, or ``"auto"`` for cuda where there is one.
        batch_size: Images at once.
        max_bad_fraction: Largest fraction of unreadable photographs that is tolerated.

    Attributes:
        m: Symbols of a code.
        q: Size of the alphabet.
        fingerprint: Hex digest of the network; codes of another one cannot be compared with its codes.
        unreadable: Message for each photograph that could not be read.

    Raises:
        UserError: The checkpoint cannot be read or makes no codes, there is no such device, or a number is out of its
            range.
    """

    def __init__(self, checkpoint: Path, *, device: str, batch_size: int, max_bad_fraction: float) -> None:
        if batch_size < 1 or not 0 <= max_bad_fraction <= 1:
            raise UserError(
                "expected batch_size of at least 1 and max_bad_fraction between 0 and 1; found "
                f"{batch_size} and {max_bad_fraction}"
            )
        self._device = find_device(device)
        trained = TrainedCheckpoint.read(checkpoint)
        network = trained.build_backbone()
        if not isinstance(network, RankHashNetwork):
            raise UserError(
                f"ckpt_path={checkpoint}: its network, {type(network).__name__}, makes no codes; expected a checkpoint "
                "of python train.py experiment=drh"
            )
        self._network = network.to(self._device)
        self._size = network.size or trained.size
        self._batch_size = batch_size
        self._max_bad_fraction = max_bad_fraction
        self.m = network.m
        self.q = network.alphabet
        self.fingerprint = weights_fingerprint(network)
        self.unreadable: list[str] = []

    def encode(
        self, photographs: Sequence[Photograph], *, flip: bool, out_of: int
    ) -> Iterator[tuple[list[Photograph], Tensor]]:
        """Compute codes batch by batch; the next batch is read while one is computed.

        Args:
            photographs: To encode.
            flip: Append the code of the mirror image.
            out_of: How many photographs the command was given, of which a fraction may be unreadable.

        Yields:
            The photographs of a batch that could be read, and their codes uint8 [n, m], or [n, 2 m] with ``flip``.

        Raises:
            UserError: More photographs are unreadable than tolerated.
        """
        batches = [
            photographs[start : start + self._batch_size] for start in range(0, len(photographs), self._batch_size)
        ]
        pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
        try:
            reading = [pool.submit(self._load, photograph) for photograph in batches[0]] if batches else []
            for number, batch in enumerate(batches):
                following = batches[number + 1] if number + 1 < len(batches) else []
                loaded, reading = reading, [pool.submit(self._load, photograph) for photograph in following]
                readable, images = self._readable(batch, loaded)
                self._check_unreadable(out_of)
                yield readable, self._codes(images, flip)
        finally:
            pool.shutdown(cancel_futures=True)

    def _load(self, photograph: Photograph) -> Tensor:
        return photograph.image.load(self._size)

    def _readable(
        self, batch: Sequence[Photograph], loaded: Sequence[Future[Tensor]]
    ) -> tuple[list[Photograph], list[Tensor]]:
        """Those that could be read, with their images uint8 [S, S, 3]; the others are noted."""
        readable, images = [], []
        for photograph, future in zip(batch, loaded, strict=True):
            try:
                images.append(future.result())
                readable.append(photograph)
            except BadImage as error:
                self.unreadable.append(str(error))
        return readable, images

    def _check_unreadable(self, count: int) -> None:
        if len(self.unreadable) > self._max_bad_fraction * count:
            first = "".join(f"\n  {message}" for message in self.unreadable[:_NAMED])
            raise UserError(
                f"{len(self.unreadable)} of {count} photographs so far cannot be read, more than "
                f"max_bad_fraction={self._max_bad_fraction} allows:{first}\n"
                "Repair or remove them, or set max_bad_fraction to what you tolerate."
            )

    @torch.inference_mode()
    def _codes(self, images: Sequence[Tensor], flip: bool) -> Tensor:
        if not images:
            return torch.empty(0, self.m * (2 if flip else 1), dtype=torch.uint8)
        image = to_float(torch.stack(list(images)).to(self._device))
        codes = self._network(image)
        if flip:
            codes = torch.cat([codes, self._network(image.flip(-1))], 1)
        return codes.cpu()
