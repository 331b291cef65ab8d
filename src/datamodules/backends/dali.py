"""Decoding by NVIDIA DALI, on the CPU or on a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from nvidia.dali import Pipeline, fn, types
from nvidia.dali.plugin.pytorch import feed_ndarray

from src.datamodules.backends.prefetch import map_in_order
from src.datamodules.face_dataset import EncodedFace, FaceDataset
from src.datamodules.sample import Sample

__all__ = ["DaliBackend"]

_AHEAD = 2
"""Batches in DALI's queue, and read ahead of it."""


class DaliBackend:
    """One pipeline for all devices: decode (nvJPEG on a GPU), then warp or crop to the size wanted.

    The rows, and so shuffling, P x K batches, sharing among ranks and resuming, come from outside; DALI is fed encoded
    images. Visible and infrared image of a face go through the same steps. Augmentation follows on the device, as for
    every backend.

    Args:
        dataset: What to read.
        batch_size: Largest number of rows in a batch.
        threads: Of DALI's; at least one is used.
        device: Where to decode; the images stay there.
    """

    def __init__(self, dataset: FaceDataset, *, batch_size: int, threads: int, device: torch.device) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.threads = max(threads, 1)
        self.device = device
        self._pipeline: Pipeline | None = None
        self._encoded: Iterator[list[EncodedFace]] = iter(())
        self._queue: deque[list[EncodedFace]] = deque()  # batches that DALI is at work on

    def read(self, batches: Iterator[np.ndarray]) -> Generator[Sample]:
        """See `Backend.read`."""
        encoded = map_in_order(self.dataset.encoded, batches, threads=1, ahead=_AHEAD)
        if not self.dataset.modalities:
            for faces in encoded:
                yield self.dataset.assemble(faces, {})
            return
        self._encoded = encoded
        self._queue.clear()
        if self._pipeline is None:
            self._pipeline = self._build()
        try:
            yield from self._decode(self._pipeline)
        finally:
            encoded.close()
            self._drain()

    def close(self) -> None:
        """See `Backend.close`."""
        if self._pipeline is not None:
            # Ends DALI's threads now, not when the last reference is gone.
            self._pipeline._shutdown()
            self._pipeline = None

    def _decode(self, pipeline: Pipeline) -> Iterator[Sample]:
        while True:
            try:
                outputs = pipeline.run()
            except StopIteration:
                break
            except RuntimeError:
                # DALI gives up a batch for one damaged image.
                outputs = None
            yield from self._take_empty()
            yield self._finish(self._queue.popleft(), outputs)
        yield from self._take_empty()

    def _drain(self) -> None:
        """Bring the pipeline to its end, to start again from there: one for every epoch would leak memory."""
        if self._pipeline is None:
            return
        while True:
            try:
                self._pipeline.run()
            except StopIteration:
                break
            except RuntimeError:
                continue
        self._pipeline.reset()

    def _feed(self) -> list[list[np.ndarray]]:
        """Inputs of the next batch that holds anything, for the external source; StopIteration ends the pipeline."""
        for faces in self._encoded:
            self._queue.append(faces)
            if faces:
                return [inputs for name in self.dataset.modalities for inputs in self._inputs(name, faces)]
        raise StopIteration

    def _take_empty(self) -> Iterator[Sample]:
        """A batch without any readable image never reaches DALI."""
        while self._queue and not self._queue[0]:
            self._queue.popleft()
            yield Sample()

    def _build(self) -> Pipeline:
        on_gpu = self.device.type == "cuda"
        modalities = self.dataset.modalities
        pipeline = Pipeline(
            batch_size=self.batch_size,
            num_threads=self.threads,
            device_id=(self.device.index or 0) if on_gpu else None,
            prefetch_queue_depth=_AHEAD,
        )
        with pipeline:
            count = len(modalities) * self._inputs_per_image
            inputs = fn.external_source(source=self._feed, num_outputs=count, batch=True)
            images = []
            for number, name in enumerate(modalities):
                first = number * self._inputs_per_image
                images.append(self._graph(name, *inputs[first : first + self._inputs_per_image]))
            pipeline.set_outputs(*images)
        pipeline.build()
        return pipeline

    @property
    def _inputs_per_image(self) -> int:
        return 1 if self.dataset.is_cropped else 2 if self.dataset.align else 3

    def _inputs(self, name: str, faces: Sequence[EncodedFace]) -> Iterator[list[np.ndarray]]:
        """Arguments of `_graph` for one modality, each a list with an entry per face."""
        yield [np.frombuffer(face.images[name], np.uint8) for face in faces]
        if self.dataset.align:
            yield [_from_corner(face.matrices[name]) for face in faces]
        elif not self.dataset.is_cropped:
            sizes = np.array([face.sizes[name] for face in faces], np.int32)
            sides = np.repeat(sizes.min(1, keepdims=True), 2, axis=1)
            yield list((sizes - sides) // 2)
            yield list(sides)

    def _graph(self, name: str, encoded: Any, *geometry: Any) -> Any:
        """Decode and bring to size; `geometry` is a matrix, or corner and side of a square, or nothing."""
        image = fn.decoders.image(
            encoded,
            device="mixed" if self.device.type == "cuda" else "cpu",
            output_type=types.DALIImageType.GRAY if name == "nir" else types.DALIImageType.RGB,
            adjust_orientation=False,
        )
        size = (self.dataset.size, self.dataset.size)
        if self.dataset.align:
            return fn.warp_affine(
                image,
                matrix=geometry[0],
                inverse_map=False,
                size=size,
                fill_value=0,
                interp_type=types.DALIInterpType.INTERP_LINEAR,
            )
        if self.dataset.is_cropped:
            return image
        start, side = geometry
        square = fn.slice(image, start=start, shape=side, axes=(0, 1))
        return fn.resize(square, size=size, interp_type=types.DALIInterpType.INTERP_LINEAR, antialias=True)

    def _finish(self, faces: list[EncodedFace], outputs: Sequence[Any] | None) -> Sample:
        """Join DALI's images with the rest; without them the CPU backend tells which image is damaged, and why."""
        if outputs is None:
            return self.dataset.read(face.row for face in faces)
        images = {name: self._to_torch(output) for name, output in zip(self.dataset.modalities, outputs, strict=True)}
        return self.dataset.assemble(faces, images)

    def _to_torch(self, output: Any) -> torch.Tensor:
        dense = output.as_tensor()
        image = torch.empty(dense.shape(), dtype=torch.uint8, device=self.device)
        feed_ndarray(dense, image, cuda_stream=torch.cuda.current_stream() if image.is_cuda else None)
        return image


def _from_corner(matrix: torch.Tensor) -> np.ndarray:
    """An affine map for DALI, where pixel centres lie at halves instead of whole numbers; float32 [2, 3]."""
    linear, shift = matrix[:, :2], matrix[:, 2]
    shift = shift + 0.5 - linear.sum(1) / 2
    return torch.cat([linear, shift[:, None]], 1).to(torch.float32).numpy()
