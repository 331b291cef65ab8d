"""What benchmarks of a collection of faces have in common: where its images come from and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import get_args

from src.datamodules.evaluation_images import EvaluationImages
from src.datamodules.identification_sets import IdentificationSet
from src.errors import check_choice
from src.eval.benchmark import fingerprint
from src.eval.collector import EmbeddingCollector
from src.eval.matching import Flip

__all__ = ["FaceSetBenchmark"]


class FaceSetBenchmark:
    """The part of a benchmark that knows the images of a collection, but not what is asked of them.

    Args:
        reader: Reads the collection.
        size: Side of the images that the network takes, in pixels.
        flip: What is compared, see `src.eval.benchmark.VerificationBenchmark`.
    """

    def __init__(self, reader: Callable[[], IdentificationSet], size: int = 112, flip: Flip = "sum") -> None:
        check_choice("flip", flip, get_args(Flip))
        self.reader = reader
        self.size = size
        self.flip = flip

    @cached_property
    def faces(self) -> IdentificationSet:
        """The collection; its images are decoded one by one later."""
        return self.reader()

    def images(self) -> EvaluationImages:
        """Images to embed."""
        return EvaluationImages(self.faces.images, self.size)

    @property
    def fingerprint(self) -> str:
        """Hex digest of the images as they reach the network."""
        return fingerprint(self.size, self.faces.fingerprint)

    @property
    def needs_mirror_images(self) -> bool:
        """Whether embeddings of the mirror images are needed."""
        return self.flip != "none"

    def collector(self, alphabet: int | None = None) -> EmbeddingCollector:
        """Collector of the embeddings of one extraction or, given their alphabet size, of codes."""
        return EmbeddingCollector(len(self.faces.images), self.faces.name, alphabet=alphabet)
